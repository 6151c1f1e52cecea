//! Linux's own ixgbe as the judge of the modelled 82599, and the model as the judge of ixgbe.
