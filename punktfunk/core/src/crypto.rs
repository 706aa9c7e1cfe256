//! AES-128-GCM packet protection (punktfunk/1 section 4.3).
