#![no_main]
libfuzzer_sys::fuzz_target!(init: ringfence_fuzz::seeds::write("discovery"), |data: &[u8]| ringfence_fuzz::discovery::check(data));
