//! rtcctl's configuration: any text is a configuration or an error that says where it is wrong, never a panic.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use settings::{File, SETTINGS};

fuzz_target!(|text: &str| {
    let path = Path::new("rtc.toml");
    match File::parse(path, text) {
        Ok(file) => {
            let lines = text.lines().count().max(1);
            for name in file.environments.keys() {
                for setting in SETTINGS {
                    if let Some(entry) = file.entry(setting, name) {
                        assert!((1..=lines).contains(&entry.line), "line {} of {lines}", entry.line);
                    }
                }
            }
        }
        Err(error) => assert!(error.to_text().contains("rtc.toml"), "{}", error.to_text()),
    }
});
