"""Sign-in and the account of a person: adapters of allauth, sessions, second factors."""
