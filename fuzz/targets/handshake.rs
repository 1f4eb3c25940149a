#![no_main]
libfuzzer_sys::fuzz_target!(init: ringfence_fuzz::seeds::write("handshake"), |data: &[u8]| ringfence_fuzz::handshake::check(data));
