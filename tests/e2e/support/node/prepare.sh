# The first process of a node: prepare ADDRESS FOLDER. It ends with its input.
address=$1 folder=$2

# The kernel has no device for an address that pods can reach but this one.
ip link set lo up
ip address add "$address/32" dev lo
# Addresses of Services are translated, but first there must be a way to them.
ip route add 10.96.0.0/16 dev lo
sysctl -qw net.ipv4.ip_forward=1
# For tests that open thousands of connections.
sysctl -qw net.ipv4.ip_local_port_range="1024 60999" net.ipv4.tcp_tw_reuse=1

# Containers' mounts reach kubelet's.
mount --make-rshared /
for path in /run /var/lib /var/log; do
  mount -t tmpfs tmpfs "$path"
done

# kubelet wants these and would set them, for the whole machine; it leaves alone what is so already.
pretend() {
  mkdir -p "$folder/sysctl"
  echo "$2" >"$folder/sysctl/${1//\//-}"
  mount --bind "$folder/sysctl/${1//\//-}" "/proc/sys/$1"
}
pretend vm/overcommit_memory 1
pretend vm/panic_on_oom 0
pretend kernel/panic 10
pretend kernel/panic_on_oops 1
pretend kernel/keys/root_maxkeys 1000000
pretend kernel/keys/root_maxbytes 25000000

echo prepared
# A shell also waits for the orphans that it inherits. (`read` fails at the end of the input: then this ends.)
while read -r _; do :; done
