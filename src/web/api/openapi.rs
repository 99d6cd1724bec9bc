//! The OpenAPI document, from the types, and a page that shows it.

use std::fmt::Write as _;

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::types::{
    Bot, BotList, ChatList, ContactList, ContactQuery, GroupList, NewMessage, NewRead, NewTyping, Pairing,
    PairingCode, PairingCodeQuery, Sent, Uploaded,
};

/// The schemas that operations name, collected as they are asked for.
struct Schemas(SchemaGenerator);

impl Schemas {
    fn of<T: JsonSchema>(&mut self) -> Value {
        json!({ "application/json": { "schema": self.0.subschema_for::<T>() } })
    }
}

/// An operation as the document has it.
struct Operation {
    value: Value,
}

impl Operation {
    /// With the answers that every operation has.
    fn new(id: &str, summary: &str) -> Self {
        let value = json!({ "operationId": id, "summary": summary, "responses": {}, "parameters": [] });
        Self { value }
            .refuses("401", "The admin token is missing or wrong.")
            .refuses("403", "No admin token is set, or the request comes from another site.")
            .refuses("429", "Too many wrong tokens, or too much waits already.")
    }

    fn about(mut self, text: &str) -> Self {
        self.value["description"] = text.into();
        self
    }

    fn parameter(mut self, parameter: Value) -> Self {
        self.value["parameters"].as_array_mut().into_iter().for_each(|all| all.push(parameter.clone()));
        self
    }

    fn takes(mut self, content: Value) -> Self {
        self.value["requestBody"] = json!({ "required": true, "content": content });
        self.refuses("400", "The body is no JSON, or a header is not well formed.")
            .refuses("413", "The body is too large.")
            .refuses("415", "The body is not said to be JSON.")
            .refuses("422", "It cannot be done; the detail says why.")
    }

    fn answers(mut self, code: &str, about: &str, content: Option<Value>) -> Self {
        self.value["responses"][code] = match content {
            Some(content) => json!({ "description": about, "content": content }),
            None => json!({ "description": about }),
        };
        self
    }

    fn refuses(self, code: &str, about: &str) -> Self {
        let schema = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
        self.answers(code, about, Some(json!({ "application/problem+json": schema })))
    }

    /// On a bot.
    fn of_bot(self) -> Self {
        self.refuses("404", "There is no such bot or message.")
    }

    /// On a native bot, by way of the database.
    fn of_native(self) -> Self {
        self.of_bot()
            .refuses(
                "409",
                "The bot is hosted: its own program sends. Or its link is not as the call needs it, or the Idempotency-Key was used \
                 for another message.",
            )
            .refuses("503", "The database or the dyno that holds the link does not answer; try again.")
    }

    /// Answered by WhatsApp.
    fn of_link(self) -> Self {
        self.of_native().refuses("502", "WhatsApp refused it.")
    }
}

/// The document (OpenAPI 3.1) of an app with these native bots.
pub fn document(bots: &[&str]) -> Value {
    let generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut schemas = Schemas(generator);
    let paths = paths(&mut schemas, bots);
    let mut schemas: Map<String, Value> = schemas.0.take_definitions(true).into_iter().collect();
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
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "blacksky",
            "version": "1",
            "description": "What programs ask of native bots. Every request needs the admin token as a bearer token.",
        },
        "servers": [{ "url": "/api/v1" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn paths(schemas: &mut Schemas, bots: &[&str]) -> Value {
    let bot = json!([{
        "name": "bot", "in": "path", "required": true, "description": "Name of the bot in blacksky.toml.",
        "schema": { "type": "string", "enum": bots },
    }]);
    let id = json!({
        "name": "id", "in": "path", "required": true, "description": "As it was given when it was accepted.",
        "schema": { "type": "string", "minLength": 1 },
    });
    let key = json!({
        "name": "Idempotency-Key", "in": "header",
        "description": "Asking again with the same key and message gives the same message.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" },
    });
    let list = Operation::new("listBots", "The enabled bots and their links").answers(
        "200",
        "The bots.",
        Some(schemas.of::<BotList>()),
    );
    let one = Operation::new("getBot", "One bot and its link")
        .answers("200", "The bot.", Some(schemas.of::<Bot>()))
        .of_bot();
    let send = Operation::new("sendMessage", "Sends a text, a file, a reply or a reaction")
        .about("Accepted means stored: it goes out when the link is open, once, also after a crash.")
        .parameter(key)
        .takes(schemas.of::<NewMessage>())
        .answers("202", "Stored.", Some(schemas.of::<Sent>()))
        .of_native();
    let upload = Operation::new("uploadMedia", "Takes a file for messages")
        .about(&format!(
            "The body is the file, at most {} of it; the answer has the id for media.id of messages. What it is is \
             read from the file; Content-Type counts where that says nothing.",
            super::media::limit()
        ))
        .takes(file())
        .answers("201", "Stored.", Some(schemas.of::<Uploaded>()))
        .refuses("408", "The file took too long.")
        .of_native();
    let token = json!({
        "name": "token", "in": "path", "required": true, "description": "As the webhook gave it.",
        "schema": { "type": "string", "pattern": "^[A-Za-z0-9_-]+$" },
    });
    let received = Operation::new("getReceivedFile", "The file of a message that came")
        .about(&format!(
            "Fetched from WhatsApp now, at most {} of it, and held against the message. The whole path is `download`              of a message as the webhook has it.",
            super::media::limit()
        ))
        .parameter(token)
        .answers("200", "The file.", Some(file()))
        .refuses("410", "WhatsApp does not have the file any more.")
        .refuses("413", "The file is too large.")
        .refuses("504", "WhatsApp took too long.")
        .of_link();
    let message = Operation::new("getMessage", "How a message stands")
        .parameter(id)
        .answers("200", "The message.", Some(schemas.of::<Sent>()))
        .of_native();
    let typing = Operation::new("showTyping", "Shows in a chat that the bot is typing, recording or neither")
        .takes(schemas.of::<NewTyping>())
        .answers("204", "WhatsApp was told.", None)
        .of_link();
    let read = Operation::new("markRead", "Tells the sender that messages were read")
        .takes(schemas.of::<NewRead>())
        .answers("204", "WhatsApp was told.", None)
        .of_link();
    let chats = Operation::new("listChats", "The chats that wrote in the last seven days, the latest first")
        .answers("200", "At most 1000 chats.", Some(schemas.of::<ChatList>()))
        .of_native();
    let groups = Operation::new("listGroups", "The groups that the account is in")
        .answers("200", "The groups.", Some(schemas.of::<GroupList>()))
        .of_link();
    let contacts = Operation::new("checkContacts", "Which phone numbers are on WhatsApp")
        .takes(schemas.of::<ContactQuery>())
        .answers("200", "In the order asked.", Some(schemas.of::<ContactList>()))
        .of_link();
    let pairing = Operation::new("getPairing", "The QR code that waits to be scanned")
        .answers("200", "How the pairing stands.", Some(schemas.of::<Pairing>()))
        .of_native();
    let round = Operation::new("showNewQr", "Begins a new round of QR codes after one has ended")
        .answers("204", "The bot was told.", None)
        .of_native();
    let code = Operation::new("getPairingCode", "A code to type into the phone, in place of the QR")
        .about("Only while the bot waits to be paired. A code that was given before is no longer good.")
        .takes(schemas.of::<PairingCodeQuery>())
        .answers("200", "The code.", Some(schemas.of::<PairingCode>()))
        .of_link();
    let events = Operation::new("listenToEvents", "What happens at a bot, as a WebSocket")
        .about(
            "One JSON object a message: `message` as the webhook has it, `link` when the state of the link changes, \
             `missed` when the listener was too slow. Nothing is kept for a listener that is away: that is what the \
             webhook is for.",
        )
        .answers("101", "The connection is a WebSocket from here on.", None)
        .refuses("426", "The request does not ask for a WebSocket.")
        .of_native();
    json!({
        "/bots": { "get": list.value },
        "/bots/{bot}": { "parameters": bot, "get": one.value },
        "/bots/{bot}/messages": { "parameters": bot, "post": send.value },
        "/bots/{bot}/media": { "parameters": bot, "post": upload.value },
        "/bots/{bot}/received/{token}": { "parameters": bot, "get": received.value },
        "/bots/{bot}/messages/{id}": { "parameters": bot, "get": message.value },
        "/bots/{bot}/typing": { "parameters": bot, "post": typing.value },
        "/bots/{bot}/read": { "parameters": bot, "post": read.value },
        "/bots/{bot}/chats": { "parameters": bot, "get": chats.value },
        "/bots/{bot}/groups": { "parameters": bot, "get": groups.value },
        "/bots/{bot}/contacts": { "parameters": bot, "post": contacts.value },
        "/bots/{bot}/pairing": { "parameters": bot, "get": pairing.value, "post": round.value },
        "/bots/{bot}/pairing/code": { "parameters": bot, "post": code.value },
        "/bots/{bot}/events": { "parameters": bot, "get": events.value },
    })
}

/// A body that is a file.
fn file() -> Value {
    json!({ "application/octet-stream": { "schema": { "type": "string", "format": "binary", "minLength": 1 } } })
}

/// The document for people: no script, nothing from elsewhere.
pub fn page(bots: &[&str]) -> String {
    let document = document(bots);
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
        let document = document(&["main"]);
        let text = document.to_string();
        let mut count = 0;
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap_or_default();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            count += 1;
        }
        assert!(count > 10, "{count}");
        assert!(page(&["main"]).contains("POST /api/v1/bots/{bot}/messages"));
    }
}
