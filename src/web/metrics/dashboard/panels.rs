//! What the dashboard shows.

/// A panel of the dashboard.
pub struct Panel {
    pub title: &'static str,
    /// What it tells, in a sentence.
    pub text: &'static str,
    /// "timeseries", "stat" or "state-timeline".
    pub kind: &'static str,
    pub unit: &'static str,
    pub width: u64,
    /// Queries with their legends.
    pub queries: Vec<(String, &'static str)>,
}

fn panel(
    kind: &'static str,
    unit: &'static str,
    title: &'static str,
    text: &'static str,
    queries: &[(&str, &'static str)],
) -> Panel {
    let width = if kind == "stat" { 4 } else { 8 };
    let queries = queries.iter().map(|(query, legend)| ((*query).to_owned(), *legend)).collect();
    Panel { title, text, kind, unit, width, queries }
}

fn graph(
    unit: &'static str,
    title: &'static str,
    text: &'static str,
    queries: &[(&str, &'static str)],
) -> Panel {
    panel("timeseries", unit, title, text, queries)
}

/// Median and 99th percentile of a duration.
fn quantiles(title: &'static str, text: &'static str, name: &str) -> Panel {
    let of = |share: &str| {
        format!(
            "histogram_quantile({share}, sum by (le) (rate({name}_bucket{{dyno=~\"$dyno\"}}[$__rate_interval])))"
        )
    };
    graph("s", title, text, &[(&of("0.5"), "median"), (&of("0.99"), "99 %")])
}

/// The rows with their panels.
pub fn rows() -> Vec<(&'static str, Vec<Panel>)> {
    vec![
        ("Links", links()),
        ("Messages", messages()),
        ("Webhooks, jobs, anti-idle", work()),
        ("Leases and hand-over", leases()),
        ("Sessions", sessions()),
        ("Process", process()),
    ]
}

fn links() -> Vec<Panel> {
    vec![
        panel(
            "stat",
            "none",
            "Open links",
            "Bots whose link is open on some dyno.",
            &[("sum(max by (bot) (blacksky_link_open{bot=~\"$bot\"}))", "open")],
        ),
        panel(
            "stat",
            "none",
            "Bots",
            "Enabled bots.",
            &[("count(max by (bot) (blacksky_link_open{bot=~\"$bot\"}))", "bots")],
        ),
        panel(
            "stat",
            "none",
            "Warnings",
            "Warnings that stand now.",
            &[("sum(max by (bot, kind) (blacksky_bot_warning{bot=~\"$bot\"}))", "warnings")],
        ),
        panel(
            "stat",
            "percentunit",
            "Open in the last 24 h",
            "Share of the time in which the links were open.",
            &[("avg(avg_over_time(max by (bot) (blacksky_link_open{bot=~\"$bot\"})[24h:1m]))", "open")],
        ),
        panel(
            "state-timeline",
            "none",
            "Link open",
            "When the link of each bot was open.",
            &[("max by (bot) (blacksky_link_open{bot=~\"$bot\"})", "{{bot}}")],
        ),
        graph(
            "none",
            "Ends of links by reason",
            "Explained in docs/status.md under disconnects.",
            &[(
                "sum by (bot, reason) (increase(blacksky_link_disconnects_total{bot=~\"$bot\"}[$__rate_interval])) > 0",
                "{{bot}} {{reason}}",
            )],
        ),
        graph(
            "none",
            "Dials and reconnects",
            "How dials ended, and links that opened again.",
            &[
                (
                    "sum by (outcome) (increase(blacksky_link_dials_total{bot=~\"$bot\"}[$__rate_interval]))",
                    "{{outcome}}",
                ),
                (
                    "sum(increase(blacksky_link_reconnects_total{bot=~\"$bot\"}[$__rate_interval]))",
                    "reconnects",
                ),
            ],
        ),
        graph(
            "s",
            "Wait until the next dial",
            "Back-off of each bot; nothing while links are open.",
            &[("max by (bot) (blacksky_link_backoff_seconds{bot=~\"$bot\"}) > 0", "{{bot}}")],
        ),
        quantiles(
            "Dial to open",
            "From the dial of a native bot to its open link.",
            "blacksky_link_dial_duration_seconds",
        ),
        quantiles(
            "Heartbeat",
            "From a probe to the next frame from WhatsApp.",
            "blacksky_heartbeat_round_trip_seconds",
        ),
    ]
}

fn messages() -> Vec<Panel> {
    vec![
        graph(
            "msg/s",
            "Messages",
            "Stored and sent by each bot.",
            &[
                (
                    "sum by (bot) (rate(blacksky_messages_received_total{bot=~\"$bot\"}[$__rate_interval]))",
                    "{{bot}} in",
                ),
                (
                    "sum by (bot) (rate(blacksky_messages_sent_total{bot=~\"$bot\"}[$__rate_interval]))",
                    "{{bot}} out",
                ),
            ],
        ),
        graph(
            "msg/s",
            "Not decrypted",
            "Inbound messages that could not be read; most heal by a retry.",
            &[
                (
                    "sum by (bot) (rate(blacksky_messages_undecryptable_total{bot=~\"$bot\"}[$__rate_interval]))",
                    "{{bot}}",
                ),
                (
                    "sum by (reason) (rate(wa_retry_receipt_total[$__rate_interval]))",
                    "retry receipt: {{reason}}",
                ),
            ],
        ),
        graph(
            "msg/s",
            "Client library",
            "What whatsapp-rust received, sent and asked, all native bots together.",
            &[
                ("sum by (outcome) (rate(wa_recv_total[$__rate_interval]))", "received: {{outcome}}"),
                ("sum by (kind) (rate(wa_send_total[$__rate_interval]))", "sent: {{kind}}"),
                ("sum by (result) (rate(wa_iq_total[$__rate_interval]))", "iq: {{result}}"),
            ],
        ),
        quantiles("Request to WhatsApp", "Round trip of an iq.", "wa_iq_duration_seconds"),
        quantiles("Send", "Encrypting and sending a message.", "wa_send_duration_seconds"),
        quantiles("Decrypt", "Decrypting what arrived.", "wa_decrypt_duration_seconds"),
    ]
}

fn work() -> Vec<Panel> {
    vec![
        graph(
            "none",
            "Webhook backlog",
            "Messages that wait, and dead letters.",
            &[
                ("max by (bot) (blacksky_webhook_waiting{bot=~\"$bot\"})", "{{bot}} waiting"),
                ("max by (bot) (blacksky_webhook_dead_letters{bot=~\"$bot\"})", "{{bot}} dead"),
            ],
        ),
        graph(
            "reqps",
            "Webhook posts",
            "Posts by outcome, and messages that were taken.",
            &[
                (
                    "sum by (bot, outcome) (rate(blacksky_webhook_posts_total{bot=~\"$bot\"}[$__rate_interval]))",
                    "{{bot}} {{outcome}}",
                ),
                (
                    "sum by (bot) (rate(blacksky_webhook_delivered_total{bot=~\"$bot\"}[$__rate_interval]))",
                    "{{bot}} delivered",
                ),
            ],
        ),
        quantiles("Webhook answer", "How long a post took.", "blacksky_webhook_post_duration_seconds"),
        graph(
            "none",
            "Runs of jobs",
            "By outcome, on whichever dyno they were.",
            &[(
                "sum by (job, outcome) (increase(blacksky_job_runs_total[$__rate_interval]))",
                "{{job}} {{outcome}}",
            )],
        ),
        graph(
            "s",
            "Duration of jobs",
            "Mean of the runs in the interval.",
            &[(
                "sum by (job) (rate(blacksky_job_duration_seconds_sum[$__rate_interval])) / sum by (job) (rate(blacksky_job_duration_seconds_count[$__rate_interval]))",
                "{{job}}",
            )],
        ),
        graph(
            "none",
            "Anti-idle pings",
            "By target and result.",
            &[(
                "sum by (target, result) (increase(blacksky_anti_idle_pings_total[$__rate_interval]))",
                "{{target}} {{result}}",
            )],
        ),
    ]
}

fn leases() -> Vec<Panel> {
    vec![
        panel(
            "state-timeline",
            "none",
            "Who holds the lease",
            "The dyno on which each bot's link is.",
            &[(
                "max by (bot, dyno) (blacksky_link_holder{bot=~\"$bot\",dyno=~\"$dyno\"})",
                "{{bot}} {{dyno}}",
            )],
        ),
        graph(
            "none",
            "Leases",
            "Won, lost, and renewals that failed.",
            &[
                ("sum(increase(blacksky_lease_wins_total{bot=~\"$bot\"}[$__rate_interval]))", "won"),
                (
                    "sum by (reason) (increase(blacksky_lease_losses_total[$__rate_interval]))",
                    "lost: {{reason}}",
                ),
                (
                    "sum(increase(blacksky_lease_renewals_total{outcome=\"failed\"}[$__rate_interval]))",
                    "renewal failed",
                ),
            ],
        ),
        quantiles(
            "Renewal",
            "How long the database takes to renew the leases.",
            "blacksky_lease_renewal_duration_seconds",
        ),
        quantiles(
            "Take-over",
            "From winning a lease to the open link.",
            "blacksky_takeover_duration_seconds",
        ),
        graph(
            "s",
            "Stop",
            "Mean of the steps in which a bot gives its link to another dyno.",
            &[(
                "sum by (step) (rate(blacksky_stop_duration_seconds_sum[$__rate_interval])) / sum by (step) (rate(blacksky_stop_duration_seconds_count[$__rate_interval]))",
                "{{step}}",
            )],
        ),
    ]
}

fn sessions() -> Vec<Panel> {
    vec![
        graph(
            "s",
            "Age of the newest backup",
            "Since the session was last found to be as in it.",
            &[(
                "time() - max by (bot) (blacksky_backup_checked_timestamp_seconds{bot=~\"$bot\"})",
                "{{bot}}",
            )],
        ),
        graph(
            "bytes",
            "Size of the newest backup",
            "In the database.",
            &[("max by (bot) (blacksky_backup_size_bytes{bot=~\"$bot\"})", "{{bot}}")],
        ),
        graph(
            "none",
            "Backups",
            "By outcome; most find the session unchanged.",
            &[(
                "sum by (outcome) (increase(blacksky_backups_total{bot=~\"$bot\"}[$__rate_interval]))",
                "{{outcome}}",
            )],
        ),
        quantiles("Backup", "How long one takes.", "blacksky_backup_duration_seconds"),
        quantiles(
            "Vault",
            "From a change in a hosted bot's folder to its being durable.",
            "blacksky_vault_mirror_duration_seconds",
        ),
        graph(
            "Bps",
            "Vault writes",
            "What hosted bots change in their sessions.",
            &[(
                "sum by (bot) (rate(blacksky_vault_written_bytes_total{bot=~\"$bot\"}[$__rate_interval]))",
                "{{bot}}",
            )],
        ),
        graph(
            "Bps",
            "Relay",
            "Traffic of hosted bots.",
            &[(
                "sum by (bot, direction) (rate(blacksky_relay_transferred_bytes_total{bot=~\"$bot\"}[$__rate_interval]))",
                "{{bot}} {{direction}}",
            )],
        ),
        graph(
            "none",
            "Relay frames",
            "WebSocket frames per second.",
            &[(
                "sum by (bot, direction) (rate(blacksky_relay_frames_total{bot=~\"$bot\"}[$__rate_interval]))",
                "{{bot}} {{direction}}",
            )],
        ),
        graph(
            "bytes",
            "Memory of hosted bots",
            "All processes of each, and at how much it is restarted.",
            &[
                ("max by (bot) (blacksky_hosted_memory_bytes{bot=~\"$bot\"})", "{{bot}}"),
                ("max by (bot) (blacksky_hosted_memory_limit_bytes{bot=~\"$bot\"})", "{{bot}} limit"),
            ],
        ),
    ]
}

fn process() -> Vec<Panel> {
    vec![
        graph(
            "bytes",
            "Memory",
            "Of blacksky itself, and the dyno's quota.",
            &[
                ("blacksky_memory_used_bytes{dyno=~\"$dyno\"}", "{{dyno}}"),
                ("max(blacksky_memory_quota_bytes{dyno=~\"$dyno\"})", "quota"),
            ],
        ),
        graph(
            "percentunit",
            "Processor",
            "Share of one.",
            &[("rate(process_cpu_seconds_total{dyno=~\"$dyno\"}[$__rate_interval])", "{{dyno}}")],
        ),
        graph("s", "Uptime", "Of each process.", &[("blacksky_uptime_seconds{dyno=~\"$dyno\"}", "{{dyno}}")]),
        graph(
            "reqps",
            "HTTP requests",
            "By route and status.",
            &[(
                "sum by (route, status) (rate(blacksky_http_requests_total{dyno=~\"$dyno\"}[$__rate_interval]))",
                "{{route}} {{status}}",
            )],
        ),
        graph(
            "s",
            "HTTP, 95 %",
            "From the head of a request to the head of its answer.",
            &[(
                "histogram_quantile(0.95, sum by (le, route) (rate(blacksky_http_request_duration_seconds_bucket{dyno=~\"$dyno\"}[$__rate_interval])))",
                "{{route}}",
            )],
        ),
        graph(
            "bytes",
            "Database",
            "What it takes, and what its plan holds.",
            &[("max(blacksky_database_size_bytes)", "size"), ("max(blacksky_database_limit_bytes)", "plan")],
        ),
        quantiles(
            "Database statements",
            "The wait for a connection included.",
            "blacksky_database_statement_duration_seconds",
        ),
        graph(
            "none",
            "Database errors and connections",
            "Statements that failed, and connections of the pools.",
            &[
                (
                    "sum by (kind) (increase(blacksky_database_errors_total{dyno=~\"$dyno\"}[$__rate_interval]))",
                    "{{kind}}",
                ),
                (
                    "sum by (dyno, pool) (blacksky_database_connections{dyno=~\"$dyno\",state=\"open\"})",
                    "{{dyno}} {{pool}}",
                ),
            ],
        ),
    ]
}
