//! The OpenAPI 3.1 document, made from the routes themselves.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::Policy;
use crate::admission::Priority;
use crate::limits::Limit;
use crate::problem::ProblemBody;
use crate::routes::RouteInfo;

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyUse {
    None,
    Optional,
    Required,
}

/// What a route's documentation says of it, next to its policy and its handler.
#[derive(Clone)]
pub struct Op {
    pub(crate) summary: &'static str,
    body: Option<(&'static str, SchemaOf)>,
    answers: Vec<(u16, &'static str, Option<(&'static str, SchemaOf)>)>,
    query: Option<SchemaOf>,
    key: KeyUse,
    if_match: bool,
    pub(crate) limit: Option<Limit>,
    pub(crate) timeout: Option<std::time::Duration>,
    pub(crate) priority: Option<Priority>,
    pub(crate) yields_to: Option<&'static str>,
}

impl Op {
    pub fn new(summary: &'static str) -> Self {
        Self {
            summary,
            body: None,
            answers: Vec::new(),
            query: None,
            key: KeyUse::None,
            if_match: false,
            limit: None,
            timeout: None,
            priority: None,
            yields_to: None,
        }
    }

    /// What it is worth when there is more to do than can be done, where the general rule does not fit.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Refused while the pressure of this name is at 1 or above: see [`Edge::pressure`](crate::Edge::pressure).
    #[must_use]
    pub fn yields_to(mut self, pressure: &'static str) -> Self {
        self.yields_to = Some(pressure);
        self
    }

    pub(crate) fn has_idempotency_key(&self) -> bool {
        !matches!(self.key, KeyUse::None)
    }

    pub(crate) fn reads_json(&self) -> bool {
        self.body.is_some_and(|(media_type, _)| media_type == "application/json")
    }

    /// The JSON body that it reads.
    #[must_use]
    pub fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(("application/json", |generator| generator.subschema_for::<T>()));
        self
    }

    /// A body of another media type: `multipart/form-data`, `application/x-ndjson`.
    #[must_use]
    pub fn raw_body<T: JsonSchema>(mut self, media_type: &'static str) -> Self {
        self.body = Some((media_type, |generator| generator.subschema_for::<T>()));
        self
    }

    #[must_use]
    pub fn answers<T: JsonSchema>(mut self, status: u16, what: &'static str) -> Self {
        self.answers.push((
            status,
            what,
            Some(("application/json", |generator| generator.subschema_for::<T>())),
        ));
        self
    }

    /// An answer of another media type.
    #[must_use]
    pub fn answers_raw<T: JsonSchema>(
        mut self,
        status: u16,
        media_type: &'static str,
        what: &'static str,
    ) -> Self {
        self.answers.push((status, what, Some((media_type, |generator| generator.subschema_for::<T>()))));
        self
    }

    #[must_use]
    pub fn answers_nothing(mut self, status: u16, what: &'static str) -> Self {
        self.answers.push((status, what, None));
        self
    }

    /// A problem that is particular to this route. The general ones (400, 401, 403, 413, 415, 422, 429, 500, 503, 504)
    /// are documented by themselves.
    #[must_use]
    pub fn fails(self, status: u16, codes: &'static str) -> Self {
        let mut op = self;
        op.answers.push((
            status,
            codes,
            Some(("application/problem+json", |generator| generator.subschema_for::<ProblemBody>())),
        ));
        op
    }

    /// The query parameters, as the struct that reads them.
    #[must_use]
    pub fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(|generator| T::json_schema(generator));
        self
    }

    #[must_use]
    pub fn needs_idempotency_key(mut self) -> Self {
        self.key = KeyUse::Required;
        self
    }

    #[must_use]
    pub fn takes_idempotency_key(mut self) -> Self {
        self.key = KeyUse::Optional;
        self
    }

    #[must_use]
    pub fn needs_if_match(mut self) -> Self {
        self.if_match = true;
        self
    }

    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// How long the handler may take, where the general time-out does not fit.
    #[must_use]
    pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

fn content(generator: &mut SchemaGenerator, (media_type, schema): (&'static str, SchemaOf)) -> Value {
    json!({ media_type: { "schema": schema(generator) } })
}

fn parameters(route: &RouteInfo, generator: &mut SchemaGenerator) -> Vec<Value> {
    let mut parameters = Vec::new();
    for segment in route.path.split('/') {
        if let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let name = name.trim_start_matches('*');
            parameters.push(
                json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }),
            );
        }
    }
    if let Some(query) = route.op.query {
        let schema = query(generator).to_value();
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            parameters.push(json!({
                "name": name, "in": "query", "required": required.contains(&name.as_str()), "schema": property,
            }));
        }
    }
    if route.op.key != KeyUse::None {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": route.op.key == KeyUse::Required,
            "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
        }));
    }
    if route.op.if_match {
        let schema = json!({ "type": "string" });
        parameters.push(json!({ "name": "If-Match", "in": "header", "required": true, "schema": schema }));
    }
    parameters
}

fn general_failures(route: &RouteInfo) -> Vec<(u16, &'static str)> {
    let mut failures = vec![(400, "Malformed request"), (422, "Invalid values"), (500, "Internal error")];
    if matches!(route.policy, Policy::SignedIn | Policy::Roles(_) | Policy::Optional) {
        failures.push((401, "No token, or one that is not good"));
    }
    if matches!(route.policy, Policy::Roles(_)) {
        failures.push((403, "Another role is needed"));
    }
    if route.op.body.is_some() {
        failures.extend([
            (408, "The body came too slowly"),
            (413, "Body too large"),
            (415, "Another media type is needed"),
        ]);
    }
    if route.op.if_match {
        failures.extend([(412, "Changed by somebody else"), (428, "If-Match is missing")]);
    }
    if route.op.limit.is_some() {
        failures.push((429, "Too many requests"));
    }
    failures.extend([(503, "Not available right now"), (504, "Not finished in time")]);
    failures
}

fn operation(route: &RouteInfo, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for (status, what, body) in &route.op.answers {
        let mut response = json!({ "description": what });
        if let Some(body) = body {
            response["content"] = content(generator, *body);
        }
        responses.insert(status.to_string(), response);
    }
    for (status, what) in general_failures(route) {
        let schema = generator.subschema_for::<ProblemBody>();
        responses.entry(status.to_string()).or_insert_with(|| {
            json!({ "description": what, "content": { "application/problem+json": { "schema": schema } } })
        });
    }
    let mut operation = json!({
        "operationId": operation_id(route), "summary": route.op.summary, "tags": [route.service],
        "parameters": parameters(route, generator), "responses": responses,
    });
    if let Some(body) = route.op.body {
        operation["requestBody"] = json!({ "required": true, "content": content(generator, body) });
    }
    match route.policy {
        Policy::Public => operation["security"] = json!([]),
        Policy::Optional => operation["security"] = json!([{}, { "bearer": [] }]),
        // Not part of the document.
        Policy::Service => {}
        Policy::SignedIn => operation["security"] = json!([{ "bearer": [] }]),
        Policy::Roles(roles) => {
            operation["security"] = json!([{ "bearer": [] }]);
            operation["x-roles"] = json!(roles.iter().map(|role| role.as_str()).collect::<Vec<_>>());
        }
    }
    operation
}

/// `get_orders_id` for `GET /api/v1/orders/{id}`.
fn operation_id(route: &RouteInfo) -> String {
    let path = route.path.trim_start_matches("/api/v1");
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name: Vec<_> = std::iter::once(route.method.as_str().to_ascii_lowercase())
        .chain(words.map(str::to_ascii_lowercase))
        .collect();
    name.join("_")
}

/// The document for a list of routes, in their order.
pub fn document(routes: &[RouteInfo], version: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in routes.iter().filter(|route| route.policy != Policy::Service) {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut generator);
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "RTC", "version": version,
            "description": "Real Time Commerce. Money is in whole minor units; times are RFC 3339 in UTC; failures are \
                            application/problem+json with a stable code.",
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
    })
}
