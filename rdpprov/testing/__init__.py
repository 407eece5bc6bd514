"""The kit for those who write a protocol: everything in it is public.

`check_provider.check_provider`
    Drives a provider through all sequences, failures and limits of the provider API, and reports rule by rule;
    ``rdpprov check-provider`` is its command, `pytest_plugin` makes a test of each rule, `rules` lists them,
    `check_clients` says how a provider's author supplies a client.
`behaviour.behaviour_of`
    A Hypothesis state machine: random clients, users and administrators against a provider and the real service.
`strategies.structures`
    Hypothesis strategies for every structure of the API.
`playbook.Playbook`
    A sequence told as a dialogue, line by line, with a scripted provider (`scripted`) and the real service.
`trace_assertions`
    Traces recorded in a test, checked, compared and replayed both ways; failures read as dialogues.
`rdp_client`, `known_clients`
    Clients of the protocols that rdpprov comes with.

pytest and Hypothesis are imported inside functions: who only runs checks needs neither.
"""
