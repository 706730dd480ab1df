//! rtcd's configuration: any text is a configuration or an error of one line with a code, never a panic.

#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use host::Config;
use libfuzzer_sys::fuzz_target;

/// A file of this process; in memory where there is such a place.
fn file() -> &'static PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
        folder.join(format!("rtc-fuzz-{}.toml", std::process::id()))
    })
}

fuzz_target!(|text: &str| {
    std::fs::write(file(), text).expect("a file");
    match Config::load(Some(file()), &[]) {
        Ok(config) => {
            for setting in config.settings() {
                assert!(!setting.key.is_empty() || setting.value.is_object(), "{setting:?}");
            }
            for service in config.configured_services() {
                let _ = config.section::<serde_json::Value>(&service);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty() && !error.code().is_empty()),
    }
});
