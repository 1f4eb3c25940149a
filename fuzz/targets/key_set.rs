#![no_main]
libfuzzer_sys::fuzz_target!(init: ringfence_fuzz::seeds::write("key_set"), |data: &[u8]| ringfence_fuzz::key_set::check(data));
