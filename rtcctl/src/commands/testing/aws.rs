//! An operator whose files of AWS lead to one that a test makes up.

use eks::testing::{Aws, REGION};

use super::Typed;

impl Typed {
    /// A folder with those files, in whose `rtc.toml` this describes the environment that is meant.
    pub(crate) fn of_aws(aws: &Aws, described: &str) -> Self {
        let mut typed = Self::alone();
        let config = format!(
            "[default]\nregion = {REGION}\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = not-a-secret\n\
             endpoint_url = {}\nmax_attempts = 1\n",
            aws.url()
        );
        typed.write("aws", config.as_bytes());
        for (name, file) in [("AWS_CONFIG_FILE", "aws"), ("RTCCTL_JOURNAL", "journal"), ("HOME", ".")] {
            let path = typed.path(file).display().to_string();
            typed.set(name, &path);
        }
        typed.write("rtc.toml", format!("[environments.dev]\n{described}").as_bytes());
        typed.set("RTCCTL_ENV", "dev");
        typed
    }
}
