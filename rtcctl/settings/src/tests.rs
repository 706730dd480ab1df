//! Precedence, provenance and refusals.

use super::*;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn project(self, text: &str) -> Self {
        std::fs::create_dir_all(self.folder.path().join("work/deep")).unwrap();
        std::fs::write(self.folder.path().join("work/rtc.toml"), text).unwrap();
        self
    }

    fn user(self, text: &str) -> Self {
        std::fs::create_dir_all(self.folder.path().join("xdg/rtcctl")).unwrap();
        std::fs::write(self.folder.path().join("xdg/rtcctl/config.toml"), text).unwrap();
        self
    }

    fn load(&self, variables: &[(&str, &str)], flags: &[(&'static str, String)]) -> Result<Config> {
        let mut all: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.insert("XDG_CONFIG_HOME".to_owned(), self.folder.path().join("xdg").display().to_string());
        let deep = self.folder.path().join("work/deep");
        Config::load(&all, if deep.exists() { &deep } else { self.folder.path() }, flags)
    }

    fn refusal(&self, variables: &[(&str, &str)]) -> Error {
        self.load(variables, &[]).unwrap_err()
    }
}

#[test]
fn a_flag_beats_a_variable_beats_the_project_beats_the_user_beats_the_default() {
    let user = "[defaults]\ntimeout = \"1s\"\nprogress = \"none\"\n[environments.local]\nport = 1\n";
    let project = "[environments.local]\nport = 2\nseed = \"none\"\n";
    let place = Place::new().user(user).project(project);
    let port = |config: &Config| {
        let resolved = config.get("port");
        (config.port("port").unwrap(), resolved.origin.to_string())
    };
    let flags = [("port", "4".to_owned())];
    let config = place.load(&[("RTCCTL_PORT", "3")], &flags).unwrap();
    assert_eq!(port(&config), (4, "--port".to_owned()));
    let config = place.load(&[("RTCCTL_PORT", "3")], &[]).unwrap();
    assert_eq!(port(&config), (3, "RTCCTL_PORT".to_owned()));
    let config = place.load(&[], &[]).unwrap();
    assert_eq!(config.port("port"), Some(2));
    assert!(config.get("port").origin.to_string().ends_with("work/rtc.toml:2"));
    assert_eq!(config.duration("timeout"), Some(Duration::from_secs(1)));
    assert!(config.get("progress").origin.to_string().ends_with("xdg/rtcctl/config.toml:3"));
    assert_eq!(config.get("host").origin, Origin::Default);
    assert_eq!(config.files.len(), 2);
}

#[test]
fn a_relative_path_belongs_to_the_file_that_says_it() {
    let place = Place::new().project("[environments.local]\ndata = \"state\"\n");
    let config = place.load(&[], &[]).unwrap();
    assert_eq!(config.data_dir(), place.folder.path().join("work/state"));
    let config = place.load(&[], &[("data", "state".to_owned())]).unwrap();
    assert_eq!(config.data_dir(), place.folder.path().join("work/deep/state"));
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_one() {
    let error = Place::new().project("# x\n[environments.local]\nadmin_prot = 1\n").refusal(&[]);
    assert_eq!(error.code().id, "CFG003");
    assert!(error.message().ends_with("rtc.toml:3: unknown key \"admin_prot\""), "{}", error.message());
    assert_eq!(error.hints(), ["did you mean admin_port?"]);
    let error = Place::new().project("[enviroments.local]\n").refusal(&[]);
    assert_eq!(error.hints(), ["did you mean environments?"]);
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest_one() {
    let error = Place::new().refusal(&[("RTCCTL_TIMOUT", "1s")]);
    assert_eq!(error.code().id, "CFG006");
    assert_eq!(error.hints(), ["did you mean RTCCTL_TIMEOUT?"]);
}

#[test]
fn a_wrong_value_is_refused_with_its_origin_and_what_is_allowed() {
    let error = Place::new().project("[environments.local]\nport = 70000\n").refusal(&[]);
    assert_eq!((error.code().id, error.exit()), ("CFG004", codes::exit::CONFIGURATION));
    assert!(
        error.message().contains("rtc.toml:2: port = \"70000\": a port is a number"),
        "{}",
        error.message()
    );
    let error = Place::new().project("[environments.local]\nport = \"80\"\n").refusal(&[]);
    assert!(error.message().contains("port is a port, and here stands a string"), "{}", error.message());
    let error = Place::new().refusal(&[("RTCCTL_OUTPUT", "jsn")]);
    assert!(error.message().contains("(from RTCCTL_OUTPUT): did you mean json?"), "{}", error.message());
}

#[test]
fn broken_toml_names_file_and_line() {
    let error = Place::new().project("[defaults]\ntimeout = = 3\n").refusal(&[]);
    assert_eq!(error.code().id, "CFG002");
    assert!(error.message().contains("rtc.toml:2: not valid TOML"), "{}", error.message());
}

#[test]
fn an_unknown_environment_is_refused() {
    let place = Place::new().project("[environments.staging]\nkind = \"remote\"\n");
    let error = place.load(&[], &[("env", "stagign".to_owned())]).unwrap_err();
    assert_eq!(error.code().id, "CFG005");
    assert_eq!(error.hints(), ["did you mean staging?"]);
}

#[test]
fn a_secret_that_is_written_out_is_refused_and_not_repeated() {
    let error = Place::new().project("[environments.local]\nadmin_token = \"hunter2-canary\"\n").refusal(&[]);
    assert_eq!(error.code().id, "CFG007");
    assert!(!format!("{error:?}").contains("canary"));
    let error = Place::new().refusal(&[("RTCCTL_ADMIN_TOKEN", "hunter2-canary")]);
    assert_eq!(error.code().id, "CFG007");
    assert!(!format!("{error:?}").contains("canary"));
}

#[test]
fn a_secret_comes_from_a_file_or_a_command_and_is_never_shown() {
    let place = Place::new().project("[environments.local]\nadmin_token = \"file:token\"\n");
    std::fs::write(place.folder.path().join("work/token"), "s3cret\n").unwrap();
    let config = place.load(&[], &[]).unwrap();
    let secret = config.secret("admin_token").unwrap().unwrap();
    assert_eq!(secret.reveal(), "s3cret");
    assert_eq!(format!("{secret:?}"), "[secret]");
    let config = place.load(&[("RTCCTL_ADMIN_TOKEN", "cmd:echo from a command")], &[]).unwrap();
    assert_eq!(config.secret("admin_token").unwrap().unwrap().reveal(), "from a command");
    let config = place.load(&[("RTCCTL_ADMIN_TOKEN", "cmd:exit 3")], &[]).unwrap();
    assert_eq!(config.secret("admin_token").unwrap_err().code().id, "CFG008");
}

#[test]
fn lengths_of_time_are_read_as_people_write_them() {
    for (text, millis) in
        [("250ms", 250), ("30s", 30_000), ("1m30s", 90_000), ("2h", 7_200_000), ("1.5", 1_500)]
    {
        assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(millis), "{text}");
    }
    for text in ["", "soon", "-3s", "-1", "NaN", "10 parsecs"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn the_schema_knows_every_setting_once() {
    let schema = json_schema();
    for setting in SETTINGS {
        let part = match setting.place {
            super::Place::Defaults => &schema["properties"]["defaults"],
            super::Place::Environment | super::Place::Jenkins => {
                &schema["properties"]["environments"]["additionalProperties"]
            }
        };
        assert!(part["properties"][setting.key].is_object(), "{}", setting.key);
        assert_eq!(SETTINGS.iter().filter(|other| other.key == setting.key).count(), 1);
    }
}

#[test]
fn the_projects_own_file_is_valid_and_lists_the_services_in_their_order() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rtc.toml");
    let file = File::read(&path).unwrap();
    assert!(file.environments.contains_key("local"));
    assert!(file.services.iter().any(|service| service.name == "orders" && service.database));
}
