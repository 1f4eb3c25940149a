#![no_main]
libfuzzer_sys::fuzz_target!(init: ringfence_fuzz::seeds::write("check_request"), |data: &[u8]| ringfence_fuzz::check_request::check(data));
