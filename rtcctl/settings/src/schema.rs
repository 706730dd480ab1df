//! What may be configured: one table that parsing, checking, `config show` and `config schema` all read.

use serde_json::{Value, json};

/// In which part of a file a setting stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `[defaults]`
    Defaults,
    /// `[environments.NAME]`
    Environment,
    /// `[jenkins]`, and over it `[environments.NAME]` under a longer name.
    Jenkins,
}

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Text,
    Path,
    Port,
    /// An IP address, or `localhost`.
    Address,
    Duration,
    Url,
    /// `env:NAME`, `file:PATH` or `cmd:COMMAND`.
    Reference,
    Choice(&'static [&'static str]),
}

impl Shape {
    /// Whether the text is such a value; an empty text is no value and always right.
    pub fn check(self, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        match self {
            Shape::Text | Shape::Path => Ok(()),
            Shape::Port => match text.parse::<u16>() {
                Ok(_) => Ok(()),
                Err(_) => Err("a port is a number from 0 (any free one) to 65535".to_owned()),
            },
            Shape::Address => match text.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
                Err(_) if text != "localhost" => {
                    Err("an IP address is needed here, such as 127.0.0.1".to_owned())
                }
                _ => Ok(()),
            },
            Shape::Duration => super::parse_duration(text).map(drop),
            Shape::Url => match reqwest::Url::parse(text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
                _ => Err("an address begins with http:// or https:// and names a host".to_owned()),
            },
            // The text is not repeated: it may be the secret itself.
            Shape::Reference => super::secret::check(text),
            Shape::Choice(words) if words.contains(&text) => Ok(()),
            Shape::Choice(words) => Err(match super::nearest(text, words.iter().copied()) {
                Some(word) => format!("did you mean {word}? (allowed: {})", words.join(", ")),
                None => format!("allowed: {}", words.join(", ")),
            }),
        }
    }

    /// One word for a table.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Text => "text",
            Shape::Path => "path",
            Shape::Port => "port",
            Shape::Duration => "duration",
            Shape::Address => "IP address",
            Shape::Url => "address",
            Shape::Reference => "reference",
            Shape::Choice(_) => "choice",
        }
    }

    fn json_schema(self, about: &str) -> Value {
        match self {
            Shape::Text | Shape::Path | Shape::Address => json!({"type": "string", "description": about}),
            Shape::Port => json!({"type": "integer", "minimum": 0, "maximum": 65535, "description": about}),
            Shape::Duration => json!({
                "type": ["string", "number"], "description": about, "examples": ["250ms", "30s", "1m30s", 30],
            }),
            Shape::Url => {
                json!({"type": "string", "format": "uri", "pattern": "^https?://", "description": about})
            }
            Shape::Reference => json!({
                "type": "string", "pattern": "^(env|file|cmd):.+", "description": about,
            }),
            Shape::Choice(words) => json!({"enum": words, "description": about}),
        }
    }
}

/// One setting of the tool.
#[derive(Debug)]
pub struct Setting {
    pub key: &'static str,
    pub flag: Option<&'static str>,
    pub variable: Option<&'static str>,
    pub place: Place,
    pub shape: Shape,
    pub default: Option<&'static str>,
    pub about: &'static str,
}

const fn setting(key: &'static str, place: Place, shape: Shape, about: &'static str) -> Setting {
    Setting { key, flag: None, variable: None, place, shape, default: None, about }
}

impl Setting {
    /// What it is called in a part of a file: `jenkins_user` of an environment is `user` in `[jenkins]`.
    pub fn key_in(&self, place: Place) -> &'static str {
        match (place, self.key) {
            (Place::Jenkins, "jenkins") => "url",
            (Place::Jenkins, key) => key.strip_prefix("jenkins_").unwrap_or(key),
            (Place::Defaults | Place::Environment, key) => key,
        }
    }

    const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    const fn variable(mut self, variable: &'static str) -> Self {
        self.variable = Some(variable);
        self
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }
}

use Place::{Defaults, Environment, Jenkins};

/// Every setting, in the order in which they are shown.
pub static SETTINGS: &[Setting] = &[
    setting("env", Defaults, Shape::Text, "the environment that commands work on")
        .flag("--env")
        .variable("RTCCTL_ENV")
        .default("local"),
    setting(
        "output",
        Defaults,
        Shape::Choice(&["table", "wide", "json", "yaml", "name"]),
        "the form of the answer on stdout",
    )
    .flag("--output")
    .variable("RTCCTL_OUTPUT")
    .default("table"),
    setting(
        "progress",
        Defaults,
        Shape::Choice(&["auto", "bars", "plain", "none"]),
        "how progress is shown on stderr",
    )
    .flag("--progress")
    .variable("RTCCTL_PROGRESS")
    .default("auto"),
    setting("color", Defaults, Shape::Choice(&["auto", "always", "never"]), "whether to use colours")
        .flag("--color")
        .variable("RTCCTL_COLOR")
        .default("auto"),
    setting(
        "timeout",
        Defaults,
        Shape::Duration,
        "how long a command waits before it gives up; each command has its own default",
    )
    .flag("--timeout")
    .variable("RTCCTL_TIMEOUT"),
    setting("journal", Defaults, Shape::Path, "where runs are recorded; the user's state folder by default")
        .variable("RTCCTL_JOURNAL"),
    setting(
        "kind",
        Environment,
        Shape::Choice(&["embedded", "remote"]),
        "embedded: on this machine, started by rtcctl up; remote: at the addresses below",
    )
    .default("embedded"),
    setting("data", Environment, Shape::Path, "the data directory of the platform on this machine")
        .flag("--data")
        .variable("RTCCTL_DATA")
        .default("./data"),
    setting("host", Environment, Shape::Address, "the address that rtcctl up binds both ports to")
        .flag("--host")
        .variable("RTCCTL_HOST")
        .default("127.0.0.1"),
    setting("port", Environment, Shape::Port, "the API port of rtcctl up; 0 takes any free one")
        .flag("--port")
        .variable("RTCCTL_PORT")
        .default("8080"),
    setting(
        "admin_port",
        Environment,
        Shape::Port,
        "the admin port of rtcctl up; the API port + 1000 by default",
    )
    .flag("--admin-port")
    .variable("RTCCTL_ADMIN_PORT"),
    setting("seed", Environment, Shape::Choice(&["demo", "none"]), "what rtcctl up puts into the shop")
        .flag("--seed")
        .variable("RTCCTL_SEED")
        .default("demo"),
    setting("api_url", Environment, Shape::Url, "the API's address, where it is not the one in run.json")
        .variable("RTCCTL_API_URL"),
    setting(
        "admin_url",
        Environment,
        Shape::Url,
        "the admin port's address, where it is not the one in run.json",
    )
    .variable("RTCCTL_ADMIN_URL"),
    setting(
        "admin_token",
        Environment,
        Shape::Reference,
        "a reference to the token of the admin port; DATA/secrets/admin_token by default",
    )
    .variable("RTCCTL_ADMIN_TOKEN"),
    setting(
        "prometheus_url",
        Environment,
        Shape::Url,
        "the Prometheus server, before /api/v1; without one the platform's own history is read",
    )
    .variable("RTCCTL_PROMETHEUS_URL"),
    setting(
        "prometheus_token",
        Environment,
        Shape::Reference,
        "a reference to a bearer token for the Prometheus server",
    )
    .variable("RTCCTL_PROMETHEUS_TOKEN"),
    setting(
        "protected",
        Environment,
        Shape::Choice(&["yes", "no"]),
        "yes: what changes the environment or its pipelines has its name typed, and --yes is not enough",
    )
    .default("no"),
    setting(
        "region",
        Environment,
        Shape::Text,
        "the region of AWS; AWS_REGION or the profile says it otherwise",
    )
    .flag("--region")
    .variable("RTCCTL_REGION"),
    setting(
        "aws_profile",
        Environment,
        Shape::Text,
        "the profile of the AWS files; AWS_PROFILE says it otherwise",
    )
    .flag("--aws-profile")
    .variable("RTCCTL_AWS_PROFILE"),
    setting(
        "registry",
        Environment,
        Shape::Text,
        "the host of the registry of images; ecr is the one of the account that we are signed in to",
    )
    .variable("RTCCTL_REGISTRY")
    .default("ecr"),
    setting("image_prefix", Environment, Shape::Text, "what the names of repositories begin with")
        .variable("RTCCTL_IMAGE_PREFIX")
        .default("rtc"),
    setting("cluster", Environment, Shape::Text, "the cluster of EKS, by its name")
        .flag("--cluster")
        .variable("RTCCTL_CLUSTER"),
    setting(
        "context",
        Environment,
        Shape::Text,
        "the context of the kubeconfig, instead of a cluster of EKS",
    )
    .flag("--context")
    .variable("RTCCTL_CONTEXT"),
    setting(
        "kubeconfig",
        Environment,
        Shape::Path,
        "the kubeconfig; $KUBECONFIG, then ~/.kube/config by default",
    )
    .flag("--kubeconfig")
    .variable("RTCCTL_KUBECONFIG"),
    setting("namespace", Environment, Shape::Text, "the namespace of the platform in its cluster")
        .flag("--namespace")
        .variable("RTCCTL_NAMESPACE"),
    setting("terraform", Environment, Shape::Path, "the Terraform folder of the environment"),
    setting("terraform_binary", Environment, Shape::Text, "the terraform to run: a path, or a name on PATH")
        .variable("RTCCTL_TERRAFORM_BINARY")
        .default("terraform"),
    setting(
        "terraform_backend",
        Environment,
        Shape::Path,
        "a file that says where the state is kept (terraform init -backend-config)",
    )
    .variable("RTCCTL_TERRAFORM_BACKEND"),
    setting("terraform_variables", Environment, Shape::Path, "a file of variables (terraform -var-file)")
        .variable("RTCCTL_TERRAFORM_VARIABLES"),
    setting("jenkins", Jenkins, Shape::Url, "the address of Jenkins; url in [jenkins]")
        .variable("RTCCTL_JENKINS"),
    setting("jenkins_user", Jenkins, Shape::Text, "who we are in Jenkins").variable("RTCCTL_JENKINS_USER"),
    setting("jenkins_token", Jenkins, Shape::Reference, "a reference to an API token of that user")
        .variable("RTCCTL_JENKINS_TOKEN"),
    setting(
        "jenkins_on_interrupt",
        Jenkins,
        Shape::Choice(&["ask", "stop", "detach"]),
        "what Ctrl-C does with a build that is followed; where nobody can be asked, ask is detach",
    )
    .variable("RTCCTL_JENKINS_ON_INTERRUPT")
    .default("ask"),
    setting(
        "jenkins_poll",
        Jenkins,
        Shape::Duration,
        "how often Jenkins is asked while something is followed",
    )
    .variable("RTCCTL_JENKINS_POLL")
    .default("1s"),
    setting(
        "jenkins_patience",
        Jenkins,
        Shape::Duration,
        "how long Jenkins may be away while something is followed",
    )
    .variable("RTCCTL_JENKINS_PATIENCE")
    .default("5m"),
    setting(
        "jenkins_jobs",
        Jenkins,
        Shape::Path,
        "the folder of the jobs as code, beside rtc.toml by default",
    )
    .default("pipelines/jenkins/jobs"),
    setting(
        "jenkins_owner",
        Jenkins,
        Shape::Text,
        "what marks our jobs in Jenkins; pipeline sync deletes no others",
    )
    .default("rtc"),
    setting(
        "jenkins_repository",
        Jenkins,
        Shape::Text,
        "where jobs as code have their source where they do not say it",
    )
    .variable("RTCCTL_JENKINS_REPOSITORY"),
    setting(
        "jenkins_credentials",
        Jenkins,
        Shape::Text,
        "the id of the credentials in Jenkins that read it, where jobs as code do not say it",
    ),
];

/// The settings that may stand in one part of a file.
pub fn settings_of(place: Place) -> impl Iterator<Item = &'static Setting> {
    SETTINGS
        .iter()
        .filter(move |setting| setting.place == place || (place, setting.place) == (Environment, Jenkins))
}

/// The JSON Schema of `rtc.toml` and of the user's file, for editors.
pub fn json_schema() -> Value {
    let properties = |place| -> Value {
        settings_of(place)
            .map(|setting| {
                let mut schema = setting.shape.json_schema(setting.about);
                if let Some(default) = setting.default {
                    schema["default"] = match setting.shape {
                        Shape::Port => default.parse::<u16>().map(Value::from).unwrap_or(Value::Null),
                        _ => default.into(),
                    };
                }
                (setting.key_in(place).to_owned(), schema)
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let mut environment = properties(Environment);
    environment["about"] = json!({"type": "string", "description": "what this environment is for"});
    environment["deploy"] = manifests::description::schema::json_schema();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rtc.toml",
        "description": "The platform as data: its services and environments, and the defaults of rtcctl",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "defaults": {
                "type": "object", "additionalProperties": false, "properties": properties(Defaults),
            },
            "environments": {
                "type": "object",
                "additionalProperties": {
                    "type": "object", "additionalProperties": false, "properties": environment,
                },
            },
            "metrics": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "slo": {
                        "type": "object",
                        "description": "objectives: other targets for those that there are, and ones of your own",
                        "additionalProperties": super::objectives::json_schema(),
                    },
                },
            },
            "deploy": manifests::description::schema::json_schema(),
            "jenkins": {
                "type": "object",
                "additionalProperties": false,
                "description": "the Jenkins of every environment that does not say otherwise",
                "properties": properties(Jenkins),
            },
            "pipelines": {
                "type": "object",
                "description": "jobs of Jenkins by short names",
                "additionalProperties": super::pipeline::json_schema(),
            },
            "images": {
                "type": "object",
                "description": "what images are made of",
                "additionalProperties": super::images::json_schema(),
            },
            "notices": {
                "type": "object",
                "description": "who is told what a release came to",
                "additionalProperties": super::notices::json_schema(),
            },
            "ship": super::ship::json_schema(),
            "services": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "about": {"type": "string", "description": "what the service is for"},
                        "database": {"type": "boolean", "default": false, "description": "whether it has a database of its own"},
                    },
                },
            },
        },
    })
}
