//! Codes of planning and changing infrastructure with Terraform.

use super::codes;

codes! { INFRA;
    INF001 (CONFIGURATION) "the environment has no infrastructure",
        "rtc.toml names no Terraform folder for it, or the folder is not there",
        "choose an environment with one (--env dev), or set terraform = \"terraform/envs/NAME\" in rtc.toml";
    INF002 (CONFIGURATION) "terraform cannot be started",
        "it is not installed, not on PATH, or not executable",
        "install Terraform 1.11 or newer, or set terraform_binary";
    INF003 (CONFIGURATION) "terraform is too old",
        "locks in S3 without a table and write-only values need Terraform 1.11",
        "install Terraform 1.11 or newer";
    INF004 (TERRAFORM_FAILED) "terraform failed",
        "AWS refused something, or the configuration asks for what cannot be; the causes are its own words",
        "mend what the causes say and run the command again: what was done stays done and is not done twice";
    INF005 (REFUSED) "the plan destroys what keeps data",
        "a resource that cannot be made again from the configuration would be deleted or replaced, and nobody named it",
        "change the configuration, or name each one that may go: --allow-destroy ADDRESS";
    INF006 (REFUSED) "--allow-destroy names what this plan does not destroy",
        "the address is mistyped, or the plan has changed since",
        "leave it out, or copy the address from rtcctl infra plan";
    INF007 (CONFLICT) "the state is locked",
        "another run works on this environment, or one was killed and left its lock",
        "wait for it; rtcctl infra locks says who holds it; rtcctl infra unlock ID removes one whose holder is gone";
    INF008 (CONFLICT) "the plan is stale",
        "the state has changed since the plan was made",
        "plan again: rtcctl infra apply makes its own plan and applies exactly that";
    INF009 (TERRAFORM_FAILED) "the state could not be saved",
        "the resources were changed, and where the state is kept could not be written; terraform wrote it beside the configuration",
        "keep that file; once the backend answers again: terraform state push errored.tfstate, then delete it";
    INF010 (DENIED) "AWS does not know us",
        "there are no credentials, or they have expired",
        "sign in again (aws sso login), or set AWS_PROFILE; rtcctl doctor checks it";
    INF011 (DENIED) "AWS does not permit it",
        "the credentials are valid, and lack a permission that the causes name",
        "use a role that may, or have the permission added in terraform/modules/iam";
    INF012 (CONFIGURATION) "the Terraform configuration is wrong",
        "a variable is missing or invalid, or a file does not say what it means",
        "mend the line that the causes name";
    INF013 (TERRAFORM_FAILED) "a provider crashed",
        "it is a defect of the provider, or it ran out of memory",
        "run the command again; if it crashes again, lower the load with --parallelism or change the provider's version";
    INF014 (CONFLICT) "an earlier run is still at work",
        "its rtcctl was killed and left terraform to finish",
        "wait until it has finished (--lock-timeout 10m waits, ship --wait too); rtcctl tells at the next run what it did";
    INF015 (REFUSED) "the configuration forbids destroying it",
        "the resource says lifecycle.prevent_destroy, and the plan needs it gone",
        "take that line out where it is really meant, or change the plan";
    INF016 (REFUSED) "the name was not typed",
        "the environment is protected: --yes alone does not confirm what changes it",
        "type its name when asked, or pass --confirm NAME";
    INF017 (INTERNAL) "the plan cannot be read",
        "this version of terraform writes plans in another form",
        "use a Terraform 1.x that rtcctl knows, or report it";
    INF018 (CONFLICT) "an unsaved state lies beside the configuration",
        "an earlier apply changed resources and could not save the state: errored.tfstate has what is true",
        "terraform state push errored.tfstate, then delete the file; planning without it would do things twice";
    INF019 (NOT_FOUND) "there is no such lock",
        "the state is not locked, or by another run",
        "rtcctl infra locks shows the lock that there is";
    INF020 (UNAVAILABLE) "AWS does not answer reliably",
        "requests were throttled or cut off, also when they were repeated",
        "wait a minute and run the command again";
    INF021 (NOT_FOUND) "there is no such output",
        "it is mistyped, or nothing has been applied yet",
        "rtcctl infra outputs lists them";
    INF022 (REFUSED) "the output is secret",
        "it is marked as sensitive, and nobody asked to see it",
        "pass --reveal when nobody looks over your shoulder";
    INF023 (CONFLICT) "the plan is not the one that was agreed to",
        "between the agreement and the apply the configuration, the state or what runs has changed",
        "look at rtcctl infra plan again, and agree to what it says now: --expect DIGEST";
    INF024 (USAGE) "the digest of the plan that was agreed to cannot be kept or read",
        "the file of --expect @FILE or --digest-to is not there, has something else in it, or cannot be written",
        "rtcctl infra plan --digest-to FILE writes it, rtcctl infra apply --expect @FILE reads it";
    INF030 (DONE) "resources are not as terraform left them",
        "somebody or something changed them outside",
        "rtcctl infra plan shows what an apply would put back; import or change the configuration to keep it";
    INF031 (DONE) "an earlier run was cut off",
        "its rtcctl was killed; terraform finished by itself or was killed too",
        "what it did is in the state; the finding says how far it got";
    INF032 (DONE) "the plan is not everything",
        "targets were named, or parts of it can only be planned later",
        "plan again after the apply";
    INF033 (DONE) "prices are unverified",
        "the table of prices has figures that nobody has compared with what AWS says",
        "compare them in rtcctl/terraform/prices.toml with the AWS Price List, and mend date and source";
    INF034 (DONE) "prices of another region",
        "the plan does not say its region, or the table has no prices of it",
        "name the region in the provider's block, or add its prices to rtcctl/terraform/prices.toml";
}
