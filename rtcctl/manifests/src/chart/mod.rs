//! The same objects as a Helm chart, in which image, replicas, resources, hosts and the mesh are values.
//!
//! A chart is made of two renders of one description, without a mesh and with one: what they share stands as it is, what
//! they do not is asked for. Everything else of the description is written down: a chart is of an environment.
//!
//! Invariant: rendered by Helm with [`values`] of a description of the same shape, it gives the objects of that description's
//! own render. `cargo xtask test manifests` compares them.

mod holes;
mod joined;
mod text;
mod values;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::description::{Fault, Mesh};
use crate::{Description, Object, Release, render};

pub use values::{schema, values};

/// The mesh of a chart whose description has none.
fn mesh() -> Mesh {
    Mesh { revision: None, namespace: "istio-system".to_owned(), attempts: 2 }
}

/// The files of the chart by their paths in it.
pub fn files(description: &Description) -> Result<BTreeMap<String, String>, Vec<Fault>> {
    let mut with = description.clone();
    with.mesh = Some(with.mesh.unwrap_or_else(mesh));
    let without = Description { mesh: None, ..description.clone() };
    let (with, without) = (Release::of(with)?, Release::of(without)?);
    let (with, without) = (render(&with), render(&without));
    let mut templates: BTreeMap<String, String> = BTreeMap::new();
    for object in &with {
        let twin = without.iter().find(|other| key(other) == key(object));
        let document = match twin {
            Some(twin) => text::template(&joined::join(
                holes::dig(description, &object.body),
                holes::dig(description, &twin.body),
            )),
            None => {
                let body = text::template(&holes::dig(description, &object.body));
                format!("{{{{- if .Values.mesh.enabled }}}}\n{body}{{{{- end }}}}\n")
            }
        };
        let document = match object.kind() {
            "Namespace" => format!("{{{{- if .Values.namespaces.create }}}}\n{document}{{{{- end }}}}\n"),
            _ => document,
        };
        templates.entry(file_of(object)).or_default().push_str(&document);
    }
    let only_without = without.iter().find(|object| !with.iter().any(|other| key(other) == key(object)));
    debug_assert!(only_without.is_none(), "a mesh adds objects and takes none away");
    let mut files: BTreeMap<String, String> =
        templates.into_iter().map(|(name, text)| (format!("templates/{name}.yaml"), text)).collect();
    files.insert("Chart.yaml".to_owned(), crate::yaml::write(&head(description)));
    files.insert("README.md".to_owned(), README.to_owned());
    files.insert("templates/_helpers.tpl".to_owned(), HELPERS.to_owned());
    let schema = serde_json::to_string_pretty(&schema(description)).unwrap_or_default();
    files.insert("values.schema.json".to_owned(), schema + "\n");
    files.insert("values.yaml".to_owned(), crate::yaml::write(&values(description)));
    Ok(files)
}

/// A job is named by what it is told, which the mesh is a part of: by its kind there is one.
fn key(object: &Object) -> (&str, &str, Option<&str>, &str) {
    let name = if object.kind() == "Job" { "migrate" } else { object.name() };
    (object.api_version(), object.kind(), object.namespace(), name)
}

/// What belongs to a target is in its file.
fn file_of(object: &Object) -> String {
    let name = &object.body["metadata"]["labels"]["app.kubernetes.io/name"];
    name.as_str().unwrap_or("rtc").to_owned()
}

fn head(description: &Description) -> Value {
    serde_json::json!({
        "apiVersion": "v2",
        "name": "rtc",
        "description": format!("The platform as it runs in {}", description.environment),
        "type": "application",
        "version": "0.1.0",
        "appVersion": description.version.clone().unwrap_or_else(|| "0.1.0".to_owned()),
        // The pause before a process is told to stop is the cluster's own.
        "kubeVersion": ">=1.30.0-0",
    })
}

const HELPERS: &str = r#"{{/* The beginning of the image's digest: what names and labels take. */}}
{{- define "rtc.release" -}}
{{- .Values.image | splitList "@sha256:" | last | trunc 12 -}}
{{- end -}}
"#;

const README: &str = "\
# The platform as a chart

Generated: `cargo xtask codegen`, or `rtcctl deploy chart` for another environment. What it renders is what `rtcctl deploy
render` gives.

```sh
helm upgrade --install rtc pipelines/helm/rtc --namespace default --set image=REPOSITORY@sha256:DIGEST
```

| value | what |
| --- | --- |
| `image` | by digest; a tag is refused |
| `targets.NAME.replicas` or `.min`, `.max` | how many replicas there are, or between what an autoscaler chooses |
| `targets.NAME.resources` | `cpu`, `memory` (asked for, and the limit), `cpu_limit` (none where it is empty) |
| `hosts` | names under which the shop is reached |
| `mesh.enabled` | Istio around every pod; its CNI plugin has to be there |
| `namespaces.create` | false where somebody else makes them |

- Helm waits for no job: the migration runs beside the first new pods, which migrate at their start as well. `rtcctl deploy`
  runs it before them.
- The objects carry the labels of `rtcctl`, so that it can take over what Helm has installed. Both at once is nobody's idea.
- A setting that is not here is one of the description: change that, and generate the chart anew.
";
