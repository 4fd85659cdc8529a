from hypothesis import settings

# a machine under load is not a failing test
settings.register_profile("pathscope", deadline=None)
settings.load_profile("pathscope")
