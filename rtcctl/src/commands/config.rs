//! `rtcctl config show|validate|schema`.

use codes::Result;
use serde_json::json;
use settings::{Place, SETTINGS, json_schema, setting_named};

use crate::context::Context;
use crate::output::{Column, Report, Table};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// The value of every setting and where it came from
    Show,
    /// Check every configuration file and variable, and that what is needed has a value
    Validate(Needs),
    /// The JSON Schema of rtc.toml
    Schema,
}

#[derive(Debug, clap::Args)]
pub struct Needs {
    /// Fail unless these settings have a value in this environment
    #[arg(long, value_name = "SETTING", value_delimiter = ',', value_parser = setting_named)]
    needs: Vec<&'static str>,
}

pub fn run(command: Command, context: &Context) -> Result<Report> {
    match command {
        Command::Show => Ok(show(context)),
        Command::Validate(asked) => {
            context.config.need(&asked.needs)?;
            Ok(validate(context))
        }
        Command::Schema => {
            let schema = json_schema();
            let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
            Ok(Report::new("config/schema", schema).with_text(text))
        }
    }
}

fn show(context: &Context) -> Report {
    let config = &context.config;
    let mut table = Table::new([
        Column::left("setting"),
        Column::left("value"),
        Column::left("from"),
        Column::left("variable").wide(),
        Column::left("about").wide(),
    ]);
    let mut settings = Vec::new();
    for (setting, resolved) in config.entries() {
        let shown = config.shown(setting);
        let value = if shown.is_empty() { "-" } else { &shown };
        let origin = resolved.origin.to_string();
        table.push([setting.key, value, &origin, setting.variable.unwrap_or("-"), setting.about]);
        settings.push(json!({
            "key": setting.key,
            "value": config.text(setting.key).map(|_| &shown),
            "origin": origin,
            "flag": setting.flag,
            "variable": setting.variable,
            "place": match setting.place {
                Place::Defaults => "defaults".to_owned(),
                Place::Environment => format!("environments.{}", config.env()),
                Place::Jenkins => "jenkins".to_owned(),
            },
            "about": setting.about,
        }));
    }
    let environments: Vec<_> =
        config.environments.iter().map(|(name, about)| json!({"name": name, "about": about})).collect();
    let files: Vec<String> = config.files.iter().map(|path| path.display().to_string()).collect();
    let services: Vec<&str> = config.services.iter().map(|service| service.name.as_str()).collect();
    let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let images: Vec<&str> = config.images.iter().map(|(name, _)| name.as_str()).collect();
    // Addresses are references here, and those are no secrets.
    let notices: Vec<_> =
        config.notices.iter().map(|(name, entry)| json!({"name": name, "notice": entry})).collect();
    let receivers: Vec<&str> = config.notices.iter().map(|(name, _)| name.as_str()).collect();
    let data = json!({
        "settings": settings, "environments": environments, "services": config.services, "images": images,
        "notices": notices, "files": files,
    });
    Report::new("config/show", data)
        .with_pairs([
            ("files", if files.is_empty() { "none".to_owned() } else { files.join(", ") }),
            ("environments", config.environments.keys().cloned().collect::<Vec<_>>().join(", ")),
            ("services", if services.is_empty() { "none named".to_owned() } else { services.join(", ") }),
            ("images", names(images.clone())),
            ("notices", names(receivers)),
        ])
        .with_table(table)
        .with_names(SETTINGS.iter().map(|setting| setting.key))
}

/// Whoever gets here has a valid configuration: it was checked while it was loaded.
fn validate(context: &Context) -> Report {
    let files: Vec<String> = context.config.files.iter().map(|path| path.display().to_string()).collect();
    let text = match files.as_slice() {
        [] => format!(
            "no configuration file was found ({} upwards from here); the defaults hold",
            settings::PROJECT_FILE
        ),
        files => format!("{} {} valid", files.join(" and "), if files.len() == 1 { "is" } else { "are" }),
    };
    Report::new("config/validate", json!({"files": files, "environment": context.config.env()}))
        .with_text(text)
        .with_names(files)
}
