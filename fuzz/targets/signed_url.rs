#![no_main]
libfuzzer_sys::fuzz_target!(init: ringfence_fuzz::seeds::write("signed_url"), |data: &[u8]| ringfence_fuzz::signed_url::check(data));
