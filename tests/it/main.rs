//! The one integration binary: it runs the real program against real parts.
//!
//! Nearly all of it needs a build that trusts the simulator. A build without the feature has one test: that
//! it does not.
#![cfg_attr(not(feature = "simulator"), allow(dead_code, reason = "the support is for the other build"))]

mod support;

#[cfg(not(feature = "simulator"))]
mod without_the_feature;

#[cfg(feature = "simulator")]
mod alerts;
#[cfg(feature = "simulator")]
mod anti_idle;
#[cfg(feature = "simulator")]
mod api;
#[cfg(feature = "simulator")]
mod api_calls;
#[cfg(feature = "simulator")]
mod api_kills;
#[cfg(feature = "simulator")]
mod api_media;
#[cfg(feature = "simulator")]
mod api_schema;
#[cfg(feature = "simulator")]
mod bad_input;
#[cfg(feature = "simulator")]
mod bench_results;
#[cfg(feature = "simulator")]
mod buildpack;
#[cfg(feature = "simulator")]
mod chaos;
#[cfg(feature = "simulator")]
mod chaos_short;
#[cfg(feature = "simulator")]
mod check_heroku;
#[cfg(feature = "simulator")]
mod commands;
#[cfg(feature = "simulator")]
mod config_arbitrary;
#[cfg(feature = "simulator")]
mod config_fixtures;
#[cfg(feature = "simulator")]
mod container;
#[cfg(feature = "simulator")]
mod database_trouble;
#[cfg(feature = "simulator")]
mod dead_links;
#[cfg(feature = "simulator")]
mod deploy;
#[cfg(feature = "simulator")]
mod docs_commands;
#[cfg(feature = "simulator")]
mod docs_links;
#[cfg(feature = "simulator")]
mod doctor;
#[cfg(feature = "simulator")]
mod dyno_life;
#[cfg(feature = "simulator")]
mod dyno_rules;
#[cfg(feature = "simulator")]
mod echo_rate;
#[cfg(feature = "simulator")]
mod explain;
#[cfg(feature = "simulator")]
mod gen_command;
#[cfg(feature = "simulator")]
mod gen_hosts;
#[cfg(feature = "simulator")]
mod handover;
#[cfg(feature = "simulator")]
mod handover_figures;
#[cfg(feature = "simulator")]
mod history;
#[cfg(feature = "simulator")]
mod hosted_bad_input;
#[cfg(feature = "simulator")]
mod hosted_crowd;
#[cfg(feature = "simulator")]
mod hosted_dyno;
#[cfg(feature = "simulator")]
mod hosted_import;
#[cfg(feature = "simulator")]
mod hosted_kills;
#[cfg(feature = "simulator")]
mod hosted_secrets;
#[cfg(feature = "simulator")]
mod init;
#[cfg(feature = "simulator")]
mod jobs;
#[cfg(feature = "simulator")]
mod link_flood;
#[cfg(feature = "simulator")]
mod link_table;
#[cfg(feature = "simulator")]
mod many;
#[cfg(feature = "simulator")]
mod metrics;
#[cfg(feature = "simulator")]
mod moving_back;
#[cfg(feature = "simulator")]
mod native_late;
#[cfg(feature = "simulator")]
mod native_lease;
#[cfg(feature = "simulator")]
mod native_link;
#[cfg(feature = "simulator")]
mod native_order;
#[cfg(feature = "simulator")]
mod native_store;
#[cfg(feature = "simulator")]
mod npm_package;
#[cfg(feature = "simulator")]
mod one_page;
#[cfg(feature = "simulator")]
mod original_kit;
#[cfg(feature = "simulator")]
mod page_bodies;
#[cfg(feature = "simulator")]
mod page_crowd;
#[cfg(feature = "simulator")]
mod page_streams;
#[cfg(feature = "simulator")]
mod pg_dump;
#[cfg(feature = "simulator")]
mod received;
#[cfg(feature = "simulator")]
mod relay_clients;
#[cfg(feature = "simulator")]
mod restarts;
#[cfg(feature = "simulator")]
mod secret_key;
#[cfg(feature = "simulator")]
mod session_backups;
#[cfg(feature = "simulator")]
mod session_export;
#[cfg(feature = "simulator")]
mod sim_command;
#[cfg(feature = "simulator")]
mod sim_faults;
#[cfg(feature = "simulator")]
mod sim_media;
#[cfg(feature = "simulator")]
mod sim_node_client;
#[cfg(feature = "simulator")]
mod sim_pair_code;
#[cfg(feature = "simulator")]
mod sim_rollback;
#[cfg(feature = "simulator")]
mod sim_rust_client;
#[cfg(feature = "simulator")]
mod store;
#[cfg(feature = "simulator")]
mod vault_figures;
#[cfg(feature = "simulator")]
mod web_accessible;
#[cfg(feature = "simulator")]
mod web_browser;
#[cfg(feature = "simulator")]
mod web_proxy;
#[cfg(feature = "simulator")]
mod web_socket;
#[cfg(feature = "simulator")]
mod webhook;
#[cfg(feature = "simulator")]
mod webhook_kills;
