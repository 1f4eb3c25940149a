//! What a replica calls itself: no two are called the same, also where several run on one host.

use std::fs;

use aws_lc_rs::rand;

/// The host's name (on Kubernetes the pod's) and something random.
#[must_use]
pub fn identity() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = Some(host.trim()).filter(|host| !host.is_empty()).unwrap_or("ringfence");
    let mut random = [0_u8; 8];
    // Without randomness nothing else here would work; the process's id tells replicas on one host apart then, too.
    if rand::fill(&mut random).is_err() {
        return format!("{host}-{}", std::process::id());
    }
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{host}-{random}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        assert_ne!(identity(), identity());
    }
}
