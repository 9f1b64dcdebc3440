//! What the tests of the whole system share: a deployment of its own for each test, with real credentials.
