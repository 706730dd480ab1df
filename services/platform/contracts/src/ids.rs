//! The ids of everything that more than one service names.

kernel::define_id!(UserId, "usr", "A user.");
kernel::define_id!(SessionId, "ses", "A signed-in session: the family of its refresh tokens.");
kernel::define_id!(ProductId, "prd", "A product.");
kernel::define_id!(OrderId, "ord", "An order.");
kernel::define_id!(PaymentId, "pay", "A payment for one order.");
