//! Config → Procfile, app.json: pure functions of Config.
