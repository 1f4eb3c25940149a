#![no_main]
libfuzzer_sys::fuzz_target!(init: ringfence_fuzz::seeds::write("token"), |data: &[u8]| ringfence_fuzz::token::check(data));
