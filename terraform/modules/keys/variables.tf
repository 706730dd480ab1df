variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string
}

variable "deletion_window_days" {
  description = "Days between a key's deletion and its end, in which the deletion can be taken back."
  type        = number
  default     = 30

  validation {
    condition     = var.deletion_window_days >= 7 && var.deletion_window_days <= 30
    error_message = "AWS keeps a deleted key between 7 and 30 days."
  }
}
