#!/usr/bin/env bash
# Builds the image as an OCI archive.
#
#   deploy/build-image.sh [--quick] [--tag NAME:TAG] FILE.tar
#
#   --quick    a program that is compiled with less optimisation, in a fraction of the time: for tests, not to be shipped
#   --tag      what the image is called (default: localhost/ringfence:VERSION)
#
# To push it: skopeo copy oci-archive:FILE.tar docker://REGISTRY/ringfence:VERSION
#
# It needs Rust's musl target (`rustup target add x86_64-unknown-linux-musl`), and of Debian's packages musl-tools, buildah and ca-certificates.
# RINGFENCE_IMAGE_ROOTS names another file of trusted roots.
set -euo pipefail

profile=release
tag=
archive=
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) profile=dev ;;
    --tag) tag=${2:?--tag needs a name}; shift ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "deploy/build-image.sh: unknown argument \`$1\`; see --help" >&2; exit 2 ;;
    *) archive=$1 ;;
  esac
  shift
done
[ -n "$archive" ] || { echo "deploy/build-image.sh: where to? Name a file; see --help" >&2; exit 2; }
archive=$(realpath -m -- "$archive")

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
target=$(uname -m)-unknown-linux-musl
roots=${RINGFENCE_IMAGE_ROOTS:-/etc/ssl/certs/ca-certificates.crt}
[ -s "$roots" ] || { echo "deploy/build-image.sh: there are no roots in $roots: install ca-certificates, or name a file with RINGFENCE_IMAGE_ROOTS" >&2; exit 1; }
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
tag=${tag:-localhost/ringfence:$version}

# C parts are compiled by musl-gcc, also where a cross compiler of another name is missing. The development profile shares what runs while building
# (macros, build scripts) with every other build of the tree; a little optimisation keeps its program below the size that is promised.
env "CC_${target//-/_}=musl-gcc" CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo build --locked --quiet --target "$target" --profile "$profile" --bin ringfence

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
mkdir -- "$work/context"
cp -- "${CARGO_TARGET_DIR:-target}/$target/${profile/#dev/debug}/ringfence" LICENSE "$work/context/"
# Names for stack traces, which nobody reads there.
strip --strip-all -- "$work/context/ringfence"
cp --dereference -- "$roots" "$work/context/ca-certificates.crt"

# A storage of its own: nothing is left behind, and nobody else's images are touched. `--timestamp` makes equal input an equal image.
rm -f -- "$archive"
buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" bud --quiet --isolation chroot --timestamp 0 \
  --build-arg "VERSION=$version" --file deploy/Dockerfile --tag "oci-archive:$archive:$tag" "$work/context" >/dev/null
echo "$archive: $tag, $(($(stat -c %s -- "$archive") / 1024)) KiB"
