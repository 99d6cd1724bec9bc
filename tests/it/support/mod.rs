pub mod blacksky;
pub mod browser;
pub mod eventually;
pub mod site;
