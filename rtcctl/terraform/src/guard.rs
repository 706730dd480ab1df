//! What an operator has to name before it is destroyed.
//!
//! Invariants: a replacement is as bad as a deletion; one name allows one resource, and nothing allows all; a name that
//! allows nothing is an error, because it was meant for something.

use crate::plan::{Action, Change, Plan};

/// Kinds of resources that keep what cannot be made again from the configuration, and what is lost with each.
pub const STATEFUL: [(&str, &str); 21] = [
    ("aws_backup_vault", "the backups in it"),
    ("aws_cloudwatch_log_group", "its logs"),
    ("aws_cognito_user_pool", "its users"),
    ("aws_db_instance", "the database"),
    ("aws_db_snapshot", "the snapshot"),
    ("aws_dynamodb_table", "its items"),
    ("aws_ebs_volume", "the volume's data"),
    ("aws_ecr_repository", "its images"),
    ("aws_efs_file_system", "its files"),
    ("aws_eks_cluster", "the cluster and whatever runs in it"),
    ("aws_elasticache_replication_group", "the cache, and the sessions in it"),
    ("aws_kms_key", "everything that was encrypted with it"),
    ("aws_msk_cluster", "messages that nobody has read yet"),
    ("aws_opensearch_domain", "its indices"),
    ("aws_rds_cluster", "the database"),
    ("aws_route53_zone", "the zone's records and its name servers"),
    ("aws_s3_bucket", "its objects"),
    ("aws_secretsmanager_secret", "the secret"),
    ("aws_ses_domain_identity", "the proof of the domain, and with it all mail"),
    ("aws_sqs_queue", "messages that nobody has taken yet"),
    ("aws_ssm_parameter", "the parameter"),
];

/// What is lost with a resource of this kind, if it keeps anything.
pub fn loss(kind: &str) -> Option<&'static str> {
    STATEFUL.iter().find(|(stateful, _)| *stateful == kind).map(|(_, loss)| *loss)
}

/// A stateful resource that a plan destroys and nobody named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub address: String,
    pub action: Action,
    pub loss: &'static str,
    /// Why it is replaced rather than changed.
    pub forced_by: Vec<String>,
}

/// The outcome of [`check`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    pub refused: Vec<Refusal>,
    /// Names that were given and allow nothing in this plan.
    pub idle: Vec<String>,
}

impl Judgement {
    pub fn passes(&self) -> bool {
        self.refused.is_empty() && self.idle.is_empty()
    }
}

/// Judges a plan; `allowed` are addresses as the plan writes them, index included.
pub fn check(plan: &Plan, allowed: &[String]) -> Judgement {
    let destroyed = || plan.changes.iter().filter(|change| change.action.destroys());
    let is_named = |change: &Change| allowed.contains(&change.address);
    let refused = destroyed()
        .filter(|change| !is_named(change))
        .filter_map(|change| {
            Some(Refusal {
                address: change.address.clone(),
                action: change.action,
                loss: loss(&change.kind)?,
                forced_by: change.forced_by.clone(),
            })
        })
        .collect();
    let idle = allowed
        .iter()
        .filter(|address| !destroyed().any(|change| change.address == **address))
        .cloned()
        .collect();
    Judgement { refused, idle }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Order;

    fn change(address: &str, kind: &str, action: Action) -> Change {
        Change {
            address: address.to_owned(),
            previous_address: None,
            kind: kind.to_owned(),
            action,
            forced_by: vec!["engine_version".to_owned()],
            reason: None,
            differences: Vec::new(),
            is_imported: false,
        }
    }

    fn plan(changes: Vec<Change>) -> Plan {
        let mut plan = Plan::parse(br#"{"format_version": "1.2"}"#).unwrap();
        plan.changes = changes;
        plan
    }

    const DATABASE: &str = "module.rds.aws_db_instance.primary";

    #[test]
    fn the_table_is_sorted_and_says_each_kind_once() {
        assert!(STATEFUL.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn what_destroys_a_stateful_resource_is_refused_and_says_why() {
        let replace = Action::Replace(Order::DestroyFirst);
        for action in [replace, Action::Replace(Order::CreateFirst), Action::Delete] {
            let judged = check(&plan(vec![change(DATABASE, "aws_db_instance", action)]), &[]);
            let refusal = &judged.refused[0];
            assert_eq!((refusal.address.as_str(), refusal.action), (DATABASE, action));
            assert_eq!(refusal.forced_by, ["engine_version"]);
            assert!(!judged.passes());
        }
    }

    #[test]
    fn what_destroys_nothing_passes() {
        for action in [Action::Create, Action::Update, Action::Forget, Action::Read, Action::Nothing] {
            assert!(check(&plan(vec![change(DATABASE, "aws_db_instance", action)]), &[]).passes());
        }
        assert!(check(&plan(vec![change("aws_instance.ci", "aws_instance", Action::Delete)]), &[]).passes());
    }

    #[test]
    fn a_name_allows_one_resource_and_no_other() {
        let both = plan(vec![
            change("aws_s3_bucket.a[0]", "aws_s3_bucket", Action::Delete),
            change("aws_s3_bucket.a[1]", "aws_s3_bucket", Action::Delete),
        ]);
        let judged = check(&both, &["aws_s3_bucket.a[0]".to_owned()]);
        assert_eq!(judged.refused.len(), 1);
        assert_eq!(judged.refused[0].address, "aws_s3_bucket.a[1]");
        // An address without its index is not a way to say all.
        assert_eq!(check(&both, &["aws_s3_bucket.a".to_owned()]).refused.len(), 2);
    }

    #[test]
    fn a_name_that_allows_nothing_is_said() {
        let judged = check(&plan(Vec::new()), &["aws_s3_bucket.mistyped".to_owned()]);
        assert_eq!(judged.idle, ["aws_s3_bucket.mistyped"]);
        assert!(!judged.passes());
    }
}
