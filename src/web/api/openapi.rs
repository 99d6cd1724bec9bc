//! The OpenAPI document, from the types, and a page that shows it.

use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::types::{Bot, BotList, NewMessage, Sent};

/// The document (OpenAPI 3.1).
pub fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let new = generator.subschema_for::<NewMessage>();
    let sent = generator.subschema_for::<Sent>();
    let bots = generator.subschema_for::<BotList>();
    let bot = generator.subschema_for::<Bot>();
    let mut schemas: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    schemas.insert(
        "Problem".to_owned(),
        json!({
            "type": "object",
            "properties": {
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string", "description": "What is wrong and what to do." },
            },
            "required": ["title", "status", "detail"],
        }),
    );
    let body = |schema: &schemars::Schema| json!({ "application/json": { "schema": schema } });
    let name = json!({
        "name": "bot", "in": "path", "required": true, "description": "Name of the bot in blacksky.toml.",
        "schema": { "type": "string", "pattern": "^[a-z][a-z0-9]{0,30}$" },
    });
    let problems = |codes: &[(&str, &str)]| {
        let all = codes.iter().map(|(code, about)| {
            let content = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
            ((*code).to_owned(), json!({ "description": about, "content": content }))
        });
        all.collect::<Map<String, Value>>()
    };
    let common = [
        ("401", "The admin token is missing or wrong."),
        ("403", "No admin token is set, or the request comes from another site."),
        ("429", "Too many wrong tokens."),
    ];
    let with = |mut good: Map<String, Value>, more: &[(&str, &str)]| {
        good.extend(problems(&common));
        good.extend(problems(more));
        good
    };
    let one = |code: &str, about: &str, schema: &schemars::Schema| {
        Map::from_iter([(code.to_owned(), json!({ "description": about, "content": body(schema) }))])
    };
    let no_bot = ("404", "There is no such bot or message.");
    let hosted = ("409", "The bot is hosted: its own program sends.");
    let away = ("503", "The database does not answer; try again.");
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "blacksky",
            "version": "1",
            "description": "What programs ask of native bots. Every request needs the admin token as a bearer token.",
        },
        "servers": [{ "url": "/api/v1" }],
        "security": [{ "token": [] }],
        "paths": {
            "/bots": { "get": {
                "operationId": "listBots",
                "summary": "The enabled bots and their links",
                "responses": with(one("200", "The bots.", &bots), &[]),
            } },
            "/bots/{bot}": { "parameters": [name], "get": {
                "operationId": "getBot",
                "summary": "One bot and its link",
                "responses": with(one("200", "The bot.", &bot), &[no_bot]),
            } },
            "/bots/{bot}/messages": { "parameters": [name], "post": {
                "operationId": "sendMessage",
                "summary": "Sends a text, a reply or a reaction",
                "description": "Accepted means stored: it goes out when the link is open, once, also after a crash.",
                "parameters": [{
                    "name": "Idempotency-Key", "in": "header",
                    "description": "Asking again with the same key and message gives the same message.",
                    "schema": { "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" },
                }],
                "requestBody": { "required": true, "content": body(&new) },
                "responses": with(one("202", "Stored.", &sent), &[
                    ("400", "The body is no JSON, or the Idempotency-Key is not well formed."), no_bot, hosted,
                    ("413", "The body has more than 256 KB."), ("415", "The body is not said to be JSON."),
                    ("422", "The message cannot be sent; the detail says why."), away,
                ]),
            } },
            "/bots/{bot}/messages/{id}": { "parameters": [name, {
                "name": "id", "in": "path", "required": true, "description": "As it was given when it was accepted.",
                "schema": { "type": "string", "minLength": 1 },
            }], "get": {
                "operationId": "getMessage",
                "summary": "How a message stands",
                "responses": with(one("200", "The message.", &sent), &[no_bot, hosted, away]),
            } },
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// The document for people: no script, nothing from elsewhere.
pub fn page() -> String {
    let document = document();
    let mut text = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>blacksky API</title><h1>blacksky API</h1>\
         <p>Every request needs <code>Authorization: Bearer</code> with the admin token. \
         The document for programs is <a href=\"openapi.json\">openapi.json</a>.</p>",
    );
    let paths = document["paths"].as_object().cloned().unwrap_or_default();
    for (path, methods) in &paths {
        for method in ["get", "post"] {
            let Some(operation) = methods.get(method) else { continue };
            let word = |key: &str| operation[key].as_str().unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "<h2><code>{} /api/v1{path}</code></h2><p>{}. {}</p><ul>",
                method.to_uppercase(),
                word("summary"),
                word("description")
            );
            for (code, answer) in operation["responses"].as_object().into_iter().flatten() {
                let about = answer["description"].as_str().unwrap_or_default();
                let _ = write!(text, "<li><code>{code}</code> {about}</li>");
            }
            text.push_str("</ul>");
        }
    }
    text.push_str("<h2>Shapes</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let _ =
            write!(text, "<h3>{name}</h3><p>{}</p><ul>", schema["description"].as_str().unwrap_or_default());
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let about = property["description"].as_str().unwrap_or_default();
            let _ = write!(text, "<li><code>{key}</code> {about}</li>");
        }
        text.push_str("</ul>");
    }
    text.push_str("</html>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_of_the_document_is_there() {
        let document = document();
        let text = document.to_string();
        let mut count = 0;
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap_or_default();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            count += 1;
        }
        assert!(count > 10, "{count}");
        assert!(page().contains("POST /api/v1/bots/{bot}/messages"));
    }
}
