//! From a description to the `config.xml` that Jenkins takes.
//!
//! Invariants: no secret is written, credentials by their id alone; what the description does not say is not written,
//! but for what Jenkins cannot do without, which is written where it is missing.

use super::described::{DefaultValue, Described, DescribedKind, Description, Keep, Kind, Triggers};
use super::xml::Element;

pub(super) const FOLDER: &str = "com.cloudbees.hudson.plugins.folder.Folder";
pub(super) const PIPELINE: &str = "flow-definition";
pub(super) const MULTIBRANCH: &str = "org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject";
pub(super) const PARAMETERS: &str = "hudson.model.ParametersDefinitionProperty";
const DISCARDER: &str = "jenkins.model.BuildDiscarderProperty";
const ALONE: &str = "org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty";
const TRIGGERS: &str = "org.jenkinsci.plugins.workflow.job.properties.PipelineTriggersJobProperty";

/// The last line of the description of a job that is ours.
pub fn mark(owner: &str) -> String {
    format!("[kept by rtcctl pipeline sync for {owner}; do not change by hand]")
}

/// Whether a job with this description is ours.
pub fn is_marked(description: &str, owner: &str) -> bool {
    description.trim_end().lines().last().is_some_and(|line| line.trim() == mark(owner))
}

pub fn write(described: &Description, owner: &str) -> Element {
    let description = Element::leaf("description", format!("{}\n\n{}", described.description, mark(owner)));
    match described.kind {
        Kind::Folder => Element::new(FOLDER).with(description).with(Element::new("properties").if_missing()),
        Kind::Pipeline => pipeline(described, description),
        Kind::Multibranch => multibranch(described, description),
    }
}

fn flag(name: &str, value: bool) -> Element {
    Element::leaf(name, value.to_string())
}

fn pipeline(described: &Description, description: Element) -> Element {
    let mut properties = Element::new("properties");
    if let Some(keep) = described.keep {
        properties.children.push(kept(keep));
    }
    properties.children.push(match described.concurrent {
        true => Element::absent(ALONE),
        false => Element::new(ALONE),
    });
    match described.parameters.as_deref() {
        None => {}
        Some([]) => properties.children.push(Element::absent(PARAMETERS)),
        Some(parameters) => properties.children.push(
            Element::new(PARAMETERS)
                .with(Element::new("parameterDefinitions").with_all(parameters.iter().map(parameter))),
        ),
    }
    if let Some(triggers) = &described.triggers {
        let triggers = started_by(triggers);
        properties.children.push(match triggers.is_empty() {
            true => Element::absent(TRIGGERS),
            false => Element::new(TRIGGERS).with(Element::new("triggers").with_all(triggers)),
        });
    }
    let branch = described.branches.first().map(String::as_str).unwrap_or_default();
    let mut remote = Element::new("hudson.plugins.git.UserRemoteConfig")
        .with(Element::leaf("url", described.repository.as_deref().unwrap_or_default()));
    remote.children.push(credentials(described));
    let scm = Element::new("scm")
        .class("hudson.plugins.git.GitSCM")
        .with(Element::leaf("configVersion", "2").if_missing())
        .with(Element::new("userRemoteConfigs").with(remote))
        .with(Element::new("branches").with(
            Element::new("hudson.plugins.git.BranchSpec").with(Element::leaf("name", format!("*/{branch}"))),
        ))
        .with(flag("doGenerateSubmoduleConfigurations", false).if_missing())
        .with(Element::new("submoduleCfg").class("empty-list").if_missing())
        .with(Element::new("extensions").if_missing());
    let definition = Element::new("definition")
        .class("org.jenkinsci.plugins.workflow.cps.CpsScmFlowDefinition")
        .with(scm)
        .with(Element::leaf("scriptPath", described.script.as_deref().unwrap_or_default()))
        .with(flag("lightweight", true));
    Element::new(PIPELINE)
        .with(description)
        .with(flag("keepDependencies", false).if_missing())
        .with(properties)
        .with(definition)
        .with(flag("disabled", described.disabled))
}

fn credentials(described: &Description) -> Element {
    match &described.credentials {
        Some(id) => Element::leaf("credentialsId", id),
        None => Element::absent("credentialsId"),
    }
}

/// `-1` is Jenkins' word for all of them.
fn limit(number: Option<u32>) -> String {
    number.map_or_else(|| "-1".to_owned(), |number| number.to_string())
}

fn kept(keep: Keep) -> Element {
    if keep == Keep::default() {
        return Element::absent(DISCARDER);
    }
    let strategy = Element::new("strategy")
        .class("hudson.tasks.LogRotator")
        .with(Element::leaf("daysToKeep", limit(keep.days)))
        .with(Element::leaf("numToKeep", limit(keep.builds)))
        .with(Element::leaf("artifactDaysToKeep", "-1").if_missing())
        .with(Element::leaf("artifactNumToKeep", "-1").if_missing());
    Element::new(DISCARDER).with(strategy)
}

fn started_by(triggers: &Triggers) -> Vec<Element> {
    let timed = |class: &str, spec: &str| Element::new(class).with(Element::leaf("spec", spec));
    let mut all = Vec::new();
    if let Some(spec) = &triggers.schedule {
        all.push(timed("hudson.triggers.TimerTrigger", spec));
    }
    if let Some(spec) = &triggers.poll {
        all.push(
            timed("hudson.triggers.SCMTrigger", spec).with(flag("ignorePostCommitHooks", false).if_missing()),
        );
    }
    if triggers.push {
        all.push(timed("com.cloudbees.jenkins.GitHubPushTrigger", ""));
    }
    all
}

fn parameter(parameter: &Described) -> Element {
    let class = match parameter.kind {
        DescribedKind::Text => "hudson.model.StringParameterDefinition",
        DescribedKind::Flag => "hudson.model.BooleanParameterDefinition",
        DescribedKind::Choice => "hudson.model.ChoiceParameterDefinition",
        DescribedKind::Password => "hudson.model.PasswordParameterDefinition",
    };
    let element = Element::new(class)
        .with(Element::leaf("name", &parameter.name))
        .with(Element::leaf("description", parameter.words()));
    let default = match &parameter.default {
        Some(DefaultValue::Text(text)) => text.clone(),
        Some(DefaultValue::Flag(flag)) => flag.to_string(),
        None if parameter.kind == DescribedKind::Flag => "false".to_owned(),
        None => String::new(),
    };
    match parameter.kind {
        DescribedKind::Text => element.with(Element::leaf("defaultValue", default)).with(flag("trim", true)),
        DescribedKind::Flag => element.with(Element::leaf("defaultValue", default)),
        // Whatever somebody has put there stays, unseen.
        DescribedKind::Password => element.with(Element::new("defaultValue").if_missing()),
        DescribedKind::Choice => {
            let strings = parameter.choices.iter().map(|choice| Element::leaf("string", choice));
            let choices = Element::new("a").class("string-array").with_all(strings);
            element.with(Element::new("choices").class("java.util.Arrays$ArrayList").with(choices))
        }
    }
}

fn multibranch(described: &Description, description: Element) -> Element {
    let owner = || Element::new("owner").class(MULTIBRANCH).attribute("reference", "../..").if_missing();
    let mut traits =
        Element::new("traits").with(Element::new("jenkins.plugins.git.traits.BranchDiscoveryTrait"));
    if !described.branches.is_empty() || !described.exclude.is_empty() {
        let includes = match described.branches.as_slice() {
            [] => "*".to_owned(),
            branches => branches.join(" "),
        };
        let filter = Element::new("jenkins.scm.impl.trait.WildcardSCMHeadFilterTrait")
            .with(Element::leaf("includes", includes))
            .with(Element::leaf("excludes", described.exclude.join(" ")));
        traits.children.push(filter);
    }
    let source = Element::new("source")
        .class("jenkins.plugins.git.GitSCMSource")
        // Another id would make Jenkins build every branch again.
        .with(Element::leaf("id", format!("rtcctl-{}", described.name.replace('/', "-"))).if_missing())
        .with(Element::leaf("remote", described.repository.as_deref().unwrap_or_default()))
        .with(credentials(described))
        .with(traits);
    let strategy = Element::new("strategy")
        .class("jenkins.branch.DefaultBranchPropertyStrategy")
        .with(Element::new("properties").class("empty-list"))
        .if_missing();
    let data =
        Element::new("data").with(Element::new("jenkins.branch.BranchSource").with(source).with(strategy));
    let sources = Element::new("sources")
        .class("jenkins.branch.MultiBranchProject$BranchSourceList")
        .with(data)
        .with(owner());
    let factory = Element::new("factory")
        .class("org.jenkinsci.plugins.workflow.multibranch.WorkflowBranchProjectFactory")
        .with(owner())
        .with(Element::leaf("scriptPath", described.script.as_deref().unwrap_or_default()));
    let mut project =
        Element::new(MULTIBRANCH).with(description).with(Element::new("properties").if_missing());
    if let Some(keep) = described.keep {
        let strategy = Element::new("orphanedItemStrategy")
            .class("com.cloudbees.hudson.plugins.folder.computed.DefaultOrphanedItemStrategy")
            .with(flag("pruneDeadBranches", true))
            .with(Element::leaf("daysToKeep", limit(keep.days)))
            .with(Element::leaf("numToKeep", limit(keep.builds)));
        project.children.push(strategy);
    }
    if let Some(triggers) = &described.triggers {
        let scan = triggers.scan_minutes.map(|minutes| {
            Element::new("com.cloudbees.hudson.plugins.folder.computed.PeriodicFolderTrigger")
                .with(Element::leaf("spec", often(minutes)))
                .with(Element::leaf("interval", (u64::from(minutes) * 60_000).to_string()))
        });
        project.children.push(Element::new("triggers").with_all(scan));
    }
    project.with(flag("disabled", described.disabled)).with(sources).with(factory)
}

/// How often a folder wakes up to see whether its interval is over: more often than that.
fn often(minutes: u32) -> &'static str {
    match minutes {
        0..5 => "* * * * *",
        5..30 => "H/5 * * * *",
        30..60 => "H/15 * * * *",
        60..480 => "H/30 * * * *",
        480..960 => "H H/4 * * *",
        960..2_880 => "H H/12 * * *",
        _ => "H H * * *",
    }
}
