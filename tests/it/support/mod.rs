pub mod blacksky;
pub mod browser;
pub mod eventually;
pub mod node;
pub mod sim;
pub mod site;
pub mod postgres;
