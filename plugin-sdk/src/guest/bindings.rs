//! What the WIT files say, as Rust: generated, and nothing else. Here stands what all kinds share, with the lifecycle every
//! plugin exports; each kind's module adds its own. A plugin exports two of these worlds, and the encoder joins them.

wit_bindgen::generate!({
    path: "../wit",
    world: "plugin",
    pub_export_macro: true,
    export_macro_name: "export_lifecycle",
    default_bindings_module: "whimbrel_plugin::guest::bindings",
});

/// What only transforms have.
pub mod transform {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package whimbrel:guest; world guest-transform { export whimbrel:plugin/transform@0.1.0; }",
        world: "whimbrel:guest/guest-transform",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_own",
        default_bindings_module: "whimbrel_plugin::guest::bindings::transform",
        with: { "whimbrel:plugin/types@0.1.0": super::whimbrel::plugin::types },
    });
}

/// What only rules have.
pub mod rule {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package whimbrel:guest; world guest-rule { export whimbrel:plugin/rule@0.1.0; }",
        world: "whimbrel:guest/guest-rule",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_own",
        default_bindings_module: "whimbrel_plugin::guest::bindings::rule",
        with: { "whimbrel:plugin/types@0.1.0": super::whimbrel::plugin::types },
    });
}

/// What only channels have.
pub mod channel {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package whimbrel:guest;
            world guest-channel {
                import whimbrel:plugin/host-secrets@0.1.0;
                import whimbrel:plugin/host-http@0.1.0;
                import whimbrel:plugin/host-mail@0.1.0;
                export whimbrel:plugin/channel@0.1.0;
            }",
        world: "whimbrel:guest/guest-channel",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_own",
        default_bindings_module: "whimbrel_plugin::guest::bindings::channel",
        with: { "whimbrel:plugin/types@0.1.0": super::whimbrel::plugin::types },
    });
}

/// What only migrations have.
pub mod migration {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package whimbrel:guest;
            world guest-migration {
                import whimbrel:plugin/host-database@0.1.0;
                export whimbrel:plugin/migration@0.1.0;
            }",
        world: "whimbrel:guest/guest-migration",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_own",
        default_bindings_module: "whimbrel_plugin::guest::bindings::migration",
        with: { "whimbrel:plugin/types@0.1.0": super::whimbrel::plugin::types },
    });
}
