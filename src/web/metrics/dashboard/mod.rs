//! Makes `docs/grafana/blacksky.json`, and holds every query of it against what there is.

mod panels;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::tests::families;
use crate::config::generated::assert_no_drift;
use panels::{Panel, rows};

/// Width of the grid.
const GRID: u64 = 24;

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn panel_json(id: u64, (x, y): (u64, u64), panel: &Panel) -> Value {
    let height = if panel.kind == "stat" { 4 } else { 8 };
    let targets = panel.queries.iter().enumerate().map(|(n, (query, legend))| {
        let name = char::from(b'A' + u8::try_from(n).expect("few"));
        json!({ "refId": name.to_string(), "datasource": datasource(), "expr": query, "legendFormat": legend })
    });
    let states = json!([{ "type": "value", "options": {
        "0": { "text": "no", "color": "red", "index": 0 }, "1": { "text": "yes", "color": "green", "index": 1 },
    } }]);
    let (mappings, custom) = match panel.kind {
        "state-timeline" => (states, json!({ "fillOpacity": 70, "lineWidth": 0 })),
        "timeseries" => (json!([]), json!({ "drawStyle": "line", "fillOpacity": 10, "showPoints": "auto" })),
        _ => (json!([]), json!({})),
    };
    let options = match panel.kind {
        "stat" => {
            json!({ "reduceOptions": { "calcs": ["lastNotNull"] }, "colorMode": "value", "graphMode": "area" })
        }
        "state-timeline" => json!({ "showValue": "never", "mergeValues": true, "rowHeight": 0.9 }),
        _ => json!({
            "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
            "tooltip": { "mode": "multi", "sort": "desc" },
        }),
    };
    json!({
        "id": id, "type": panel.kind, "title": panel.title, "description": panel.text, "datasource": datasource(),
        "gridPos": { "x": x, "y": y, "w": panel.width, "h": height },
        "fieldConfig": {
            "defaults": { "unit": panel.unit, "mappings": mappings, "custom": custom, "min": 0 }, "overrides": [],
        },
        "options": options,
        "targets": targets.collect::<Vec<_>>(),
    })
}

fn dashboard() -> Value {
    let mut panels = Vec::new();
    let (mut id, mut y) = (0, 0);
    for (title, row) in rows() {
        id += 1;
        panels.push(json!({
            "id": id, "type": "row", "title": title, "collapsed": false, "panels": [],
            "gridPos": { "x": 0, "y": y, "w": GRID, "h": 1 },
        }));
        y += 1;
        let (mut x, mut deepest) = (0, 0);
        for panel in row {
            if x + panel.width > GRID || (x > 0 && (deepest == 4) != (panel.kind == "stat")) {
                (x, y) = (0, y + deepest);
            }
            id += 1;
            panels.push(panel_json(id, (x, y), &panel));
            x += panel.width;
            deepest = if panel.kind == "stat" { 4 } else { 8 };
        }
        y += deepest;
    }
    let variable = |name: &str, label: &str, query: &str| {
        json!({
            "name": name, "label": label, "type": "query", "datasource": datasource(), "multi": true,
            "includeAll": true, "allValue": ".*", "refresh": 2, "sort": 1, "definition": query,
            "query": { "query": query, "refId": name }, "current": { "text": "All", "value": "$__all" },
        })
    };
    json!({
        "title": "blacksky", "uid": "blacksky", "tags": ["blacksky", "whatsapp"], "schemaVersion": 39,
        "description": "WhatsApp bots kept by blacksky. Made from the code; see docs/observability.md.",
        "editable": true, "graphTooltip": 1, "refresh": "30s", "timezone": "",
        "time": { "from": "now-24h", "to": "now" },
        "templating": { "list": [
            { "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus" },
            variable("bot", "Bot", "label_values(blacksky_link_open, bot)"),
            variable("dyno", "Dyno", "label_values(blacksky_uptime_seconds, dyno)"),
        ] },
        "annotations": { "list": [] },
        "panels": panels,
    })
}

#[test]
fn the_dashboard_has_no_drift() {
    let text = serde_json::to_string_pretty(&dashboard()).expect("JSON");
    assert_no_drift("docs/grafana/blacksky.json", &format!("{text}\n"));
}

/// Names of metrics in a query, or in the question of a variable.
fn names(query: &str) -> BTreeSet<String> {
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = query.split(|letter| !word(letter));
    let ours = |name: &&str| ["blacksky_", "process_", "wa_"].iter().any(|start| name.starts_with(start));
    words.filter(ours).map(str::to_owned).collect()
}

#[test]
fn every_query_names_what_exists() {
    let mut samples = BTreeSet::new();
    for (name, kind) in families() {
        let ends: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            _ => &[""],
        };
        samples.extend(ends.iter().map(|end| format!("{name}{end}")));
    }
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let variables = dashboard["templating"]["list"].as_array().expect("variables").iter();
    let queries: Vec<&str> = targets
        .filter_map(|target| target["expr"].as_str())
        .chain(variables.filter_map(|variable| variable["definition"].as_str()))
        .collect();
    assert!(queries.len() > 50, "{}", queries.len());
    for query in queries {
        let names = names(query);
        assert!(!names.is_empty(), "{query} asks for nothing of ours");
        let unknown: Vec<&String> = names.difference(&samples).collect();
        assert!(unknown.is_empty(), "there is no {unknown:?}, asked for by {query}");
    }
}

#[test]
fn panels_do_not_overlap_and_have_an_id_of_their_own() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "{panel}");
        let place = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
        assert!(place("x") + place("w") <= GRID, "{panel}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{} lies on another one", panel["title"]);
            }
        }
    }
}
