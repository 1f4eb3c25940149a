#![no_main]
libfuzzer_sys::fuzz_target!(init: ringfence_fuzz::seeds::write("query_key"), |data: &[u8]| ringfence_fuzz::query_key::check(data));
