#![no_main]
libfuzzer_sys::fuzz_target!(init: ringfence_fuzz::seeds::write("host_and_path"), |data: &[u8]| ringfence_fuzz::host_and_path::check(data));
