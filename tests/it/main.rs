//! The one integration binary: it runs the real program against real parts.

mod native_lease;
mod native_link;
mod native_store;
mod sim_command;
mod sim_faults;
mod sim_node_client;
mod sim_pair_code;
mod sim_rollback;
mod sim_rust_client;
mod store;
mod support;
mod web_browser;
mod web_socket;

#[cfg(feature = "simulator")]
mod restarts;
#[cfg(not(feature = "simulator"))]
mod without_the_feature;
