"""What all tests share: hypothesis judges answers, not how long a busy machine took for them."""

try:
    from hypothesis import settings
except ImportError:  # the environments without generated tests do not install it
    pass
else:
    settings.register_profile("rdzv", deadline=None)
    settings.load_profile("rdzv")
