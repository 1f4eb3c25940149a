#![no_main]
libfuzzer_sys::fuzz_target!(init: ringfence_fuzz::seeds::write("resources"), |data: &[u8]| ringfence_fuzz::resources::check(data));
