variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string
}

variable "queues" {
  description = "Queues by name; each has a dead-letter queue of the same name with -DLQ."
  type = map(object({
    visibility_s      = optional(number, 30)
    long_poll_s       = optional(number, 10)
    attempts          = optional(number, 5)
    retention_s       = optional(number, 1209600)
    message_bytes_max = optional(number, 262144)
  }))
  default = { notify-queue = {} }

  validation {
    condition     = alltrue([for queue in var.queues : queue.long_poll_s >= 1 && queue.long_poll_s <= 20])
    error_message = "A long poll lasts between 1 and 20 seconds."
  }

  validation {
    condition     = alltrue([for queue in var.queues : queue.attempts >= 1 && queue.attempts <= 1000])
    error_message = "Between 1 and 1000 attempts come before the dead letters."
  }
}

variable "key_arn" {
  description = "KMS key of the messages."
  type        = string
}
