//! What Terraform may write on its lines beside what is expected: text, events of a later version, lines of megabytes.

use crate::ground::Ground;

/// An output of 20 MB, which is one line of an apply, and is in the plan twice.
const LARGE: &str = r#"
resource "terraform_data" "one" {}
output "large" { value = format("%20971520s", "end") }
"#;
/// What a run may hold of all this, beside its program: with that, an optimised one stays below 64 MiB.
const PEAK_KIB_MAX: u64 = 40 * 1024;

#[test]
fn an_output_of_twenty_megabytes_is_applied_within_its_memory() {
    let ground = Ground::plain(LARGE);
    for words in [&["plan"] as &[&str], &["apply", "--yes"]] {
        let (came, peak_kib) = ground.infra_and_its_peak("dev", words);
        came.ended_with(0);
        assert!(peak_kib > 1024 && peak_kib < PEAK_KIB_MAX, "{words:?}: {peak_kib} KiB");
    }
    let outputs = ground.infra("dev", &["outputs", "large"]).ended_with(0).data();
    assert_eq!(outputs["large"].as_str().map(str::len), Some(20 << 20));
}

/// The real Terraform, whose apply begins and ends among what is none of its lines.
const NOISY: &str = r#"#!/bin/sh
[ "$1" = apply ] || exec terraform "$@"
noise() {
  echo 'Acquiring state lock. This may take a few moments...'
  echo '{"@level":"info","@message":"an action begins","type":"action_start","hook":{"action":{"addr":"a.b"}}}'
  head -c 20971520 /dev/zero | tr '\0' x
  echo
  printf '{"type":"outputs","@message":"m","outputs":{"x":{"value":"'
  head -c 20971520 /dev/zero | tr '\0' x
  echo '"}}}'
  echo 'panic: beside the lines' >&2
}
noise
terraform "$@"
code=$?
noise
exit $code
"#;

#[test]
fn noise_and_unknown_events_round_an_apply_change_nothing_of_it() {
    let ground = Ground::plain(LARGE);
    ground.program("terraform", NOISY);
    let (came, peak_kib) = ground.infra_and_its_peak("dev", &["apply", "--yes"]);
    let data = came.ended_with(0).data();
    assert_eq!((&data["counts"]["create"], data["steps"].as_array().map(Vec::len)), (&1.into(), Some(1)));
    assert!(peak_kib < PEAK_KIB_MAX, "{peak_kib} KiB");
}
