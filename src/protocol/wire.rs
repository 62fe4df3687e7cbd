//! JSON shapes of the wire and their translation to and from the model.
