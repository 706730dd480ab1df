variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string
}

variable "monthly_usd" {
  description = "What a month may cost."
  type        = number

  validation {
    condition     = var.monthly_usd > 0
    error_message = "A budget is more than nothing."
  }
}

variable "cost_tag" {
  description = "Cost allocation tag as key$value that the budget is limited to, such as rtc:environment$dev; null for the whole account. A tag that is not activated in the billing console counts nothing."
  type        = string
  default     = null
}

variable "emails" {
  description = "Who is told."
  type        = set(string)

  validation {
    condition     = length(var.emails) > 0 && length(var.emails) <= 10 && alltrue([for email in var.emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", email))])
    error_message = "Name one to ten e-mail addresses."
  }
}

variable "topic_arn" {
  description = "Topic that is told too."
  type        = string
}

variable "stoppable_instances" {
  description = "Instances that are stopped at 100 %, by name; they carry the tag rtc:at-budget = stop."
  type        = map(string)
}

variable "stop_by_itself" {
  description = "Whether the action runs by itself, or waits for somebody's approval."
  type        = bool
}
