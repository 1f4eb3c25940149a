# For tests/run.sh and the scripts beside it: tools of cargo's, by version, below the cache.

# install_cargo_tool NAME VERSION CACHE: builds it once and puts it on the path.
install_cargo_tool() {
  local name=$1 version=$2 root=$3/$1-$2 building
  export PATH=$root/bin:$PATH
  [ -x "$root/bin/$name" ] && return 0
  echo "building $name $version (a few minutes, once)"
  building=$(mktemp -d)
  # Unoptimised: it runs for seconds, so a build in half the time is worth more.
  CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --version "$version" --root "$root" --target-dir "$building" "$name"
  local code=$?
  rm -rf -- "$building"
  return $code
}
