#![no_main]
libfuzzer_sys::fuzz_target!(init: ringfence_fuzz::seeds::write("http_dialects"), |data: &[u8]| ringfence_fuzz::http_dialects::check(data));
