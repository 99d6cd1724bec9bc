pub mod blacksky;
pub mod browser;
pub mod eventually;
pub mod native;
pub mod node;
pub mod postgres;
pub mod sim;
pub mod site;
