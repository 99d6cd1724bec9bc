pub mod blacksky;
pub mod eventually;
