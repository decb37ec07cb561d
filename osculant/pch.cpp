// Owns the precompiled header (pch.h) that all other targets reuse.
